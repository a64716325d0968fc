"""Seller and buyer as the label baseline finds them: names and VAT ids.

Belongs here: who is who on a page. Everything else that is labelled is `baseline`.
"""

import re
from collections.abc import Iterator, Sequence

from sap_llm.evaluation import baseline_labels as labels
from sap_llm.evaluation.baseline_lines import COLUMN, Lines, Span, below
from sap_llm.evaluation.baseline_search import BESIDE, UNDER, UNLABELLED, Candidate, compiled, occurring
from sap_llm.schema.values import LEGAL_FORM, canonical

VAT_ID = (
    r"(?<![A-Z0-9])(?:DE ?\d{3} ?\d{3} ?\d{3}|FR ?[A-Z0-9]{2} ?\d{3} ?\d{3} ?\d{3}|AT ?U ?\d{8}|NL ?\d{9} ?B ?\d{2}"
    r"|GB ?\d{3} ?\d{4} ?\d{2}(?:\d{3})?|ES ?[A-Z0-9]-?\d{7}-?[A-Z0-9]|BE ?[01]?\d{3}[ .]?\d{3}[ .]?\d{3}"
    r"|IT ?\d{11}|PL ?\d{10}"
    r"|LU ?\d{8}|CHE-?\d{3}\.?\d{3}\.?\d{3}|PT ?\d{9}|DK ?\d{8}|SE ?\d{12}|FI ?\d{8}|IE ?\d[A-Z0-9]\d{5}[A-Z]{1,2}"
    r"|CZ ?\d{8,10})"
    r"(?! ?\d)(?![A-Z])"
)
BUYER_WRITES = {"PURCHASE_ORDER", "ORDER_CHANGE", "GOODS_RECEIPT"}
"""Classes whose letterhead is the buyer's."""
_LONGEST_NAME = 7
_NAME_ENDS = "\t●•|–,"  # what separates a name from the words before it
_ADDRESS_LINES = 4


def parties(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    """Names by their labels; without labels the letterhead is the writer and the next company the reader."""
    found = {name: _party(lines, patterns) for name, patterns in labels.PARTIES.items()}
    taken = {candidate[0].text.casefold() for candidate in found.values() if candidate}
    order = ("buyer_name", "seller_name") if kind in BUYER_WRITES else ("seller_name", "buyer_name")
    for name in order:
        fresh = (span for span in [*_companies(lines), *_addressees(lines)] if span.text.casefold() not in taken)
        if found[name] is None and (span := next(fresh, None)):
            found[name] = (span, UNLABELLED)
            taken.add(span.text.casefold())
    return found


def _party(lines: Lines, patterns: Sequence[str]) -> Candidate | None:
    for pattern in occurring(patterns, lines):
        for line in lines:
            match = compiled(rf"(?:^|\t){pattern}[ \t]*(:?)").search(line.text)
            if match is None:
                continue
            end = line.text.find(COLUMN, match.end())
            behind = line.span(match.end(), len(line.text) if end < 0 else end)
            if match.groups()[-1] and _is_name(behind.text, most_digits=4):
                return behind, BESIDE
            for under in lines[line.index + 1 : line.index + 5]:
                if named := re.match(r"name\s*:\s*(?P<name>[^\t]+)", under.text, re.IGNORECASE):
                    return under.span(*named.span("name")), UNDER
            label = line.span(match.start(), match.end())
            cells = (cell for cell in below(lines, label, line.index, rows=3) if _is_name(cell.text))
            if cell := next(cells, None):
                return cell, UNDER
    return None


def _is_name(text: str, *, most_digits: int = 0) -> bool:
    letters = sum(char.isalpha() for char in text)
    digits = sum(char.isdigit() for char in text)
    if letters < 3 or digits > most_digits or ":" in text or len(text.split()) > _LONGEST_NAME:
        return False
    return compiled(labels.NO_NAMES).search(text) is None


def _addressees(lines: Lines) -> Iterator[Span]:
    """First lines of address blocks: cells that stand above each other and end in postcode and town."""
    for line in lines:
        for cell in line.cells:
            if not re.match(r"(?:[A-Z]{1,2}[ -])?\d{4,5} [A-ZÄÖÜÉ]", cell.text):
                continue
            top = cell
            for upper in reversed(lines[max(0, line.index - _ADDRESS_LINES) : line.index]):
                over = (
                    other for other in upper.cells if abs(other.box[0] - cell.box[0]) < 2 and other.page is cell.page
                )
                top = next(over, top)
            if top is not cell and _is_name(top.text):
                yield top


def _companies(lines: Lines) -> Iterator[Span]:
    """Cells, cut at dashes and bullets, that end in a legal form."""
    for line in lines:
        for match in compiled(rf"\b{LEGAL_FORM}(?=[\s,;.●•|–-]|$)").finditer(line.text):
            start = max(line.text.rfind(mark, 0, match.start()) for mark in _NAME_ENDS) + 1
            text = line.text[start : match.end()].strip(" -,")
            if text[:1].isupper() and 2 <= len(text.split()) <= _LONGEST_NAME and _is_name(text):
                start = line.text.index(text, start)
                yield line.span(start, start + len(text))


def tax_ids(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    """VAT ids: those labelled as the other party's go there, the first of the rest is the writer's."""
    writer, reader = ("buyer", "seller") if kind in BUYER_WRITES else ("seller", "buyer")
    found: dict[str, Candidate | None] = {"seller_vat_id": None, "buyer_vat_id": None}
    plain = []
    for line in lines:
        for match in re.finditer(VAT_ID, line.text):
            candidate = (line.span(*match.span()), UNLABELLED)
            party = _party_before(line.text[max(0, match.start() - 40) : match.start()])
            if party is None:
                plain.append(candidate)
            elif party and found[f"{party}_vat_id"] is None:
                found[f"{party}_vat_id"] = (candidate[0], BESIDE)
    for party in (writer, reader):
        known = {canonical(entry[0].text, "vat_id") for entry in found.values() if entry}
        fresh = [candidate for candidate in plain if canonical(candidate[0].text, "vat_id") not in known]
        if found[f"{party}_vat_id"] is None and fresh:
            found[f"{party}_vat_id"] = fresh[0]
    return found


def _party_before(text: str) -> str | None:
    """Whose VAT id follows: `seller`, `buyer`, another party's (empty) or unsaid (None); the nearest word decides."""
    hints = {"seller": labels.SELLER_HINT, "buyer": labels.BUYER_HINT, "": labels.OTHER_PARTIES}
    places = {
        party: max((match.start() for match in compiled(rf"\b(?:{hint})").finditer(text)), default=-1)
        for party, hint in hints.items()
    }
    nearest = max(places, key=lambda party: places[party])
    return nearest if places[nearest] >= 0 else None
