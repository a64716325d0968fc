"""Pairs that are no fields: references, people, codes and dates of other things, as real papers have them.

Every value is of the kind that its label names. Pairs of the document's own facts are elsewhere (`blocks_pairs`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import text
from sap_llm.synthetic.pools import pools
from sap_llm.synthetic.style import Style, labels


@dataclass(frozen=True)
class Pair:
    """A label (plain text, may be empty) and the expression of its value."""

    label: str
    value: str


def noise_pairs(draft: Draft) -> list[Pair]:
    """Pairs that mean nothing to us, as many as the style has."""
    style = draft.style
    count = style.pick("noise_pairs", (0, 0, 0, 1, 1, 2, 3, 5))
    rng = style.rng("noise_names")
    found = []
    if style.chance("empty_pair", 0.1):
        concept = style.pick("empty_concept", ("buyer_vat_id", "due_date", "order_reference", "contract"))
        found.append(Pair(style.word(concept), text(style.pick("empty", ("-", "", "n/a", "---")))))
    found += _other_dates(draft) + [Pair(name, text(code)) for name, code in codes(draft.style)]
    if "document_type_code" in draft.sheet.printed and style.chance("guideline", 0.5):
        found.append(Pair(style.word("guideline"), text(style.pick("guideline_urn", _GUIDELINES))))
    names = [(name, kind) for kind, group in labels(style.language)["other_pairs"].items() for name in group]
    for name, kind in rng.sample(names, min(count, len(names))):
        found.append(Pair(name, text(_VALUES[kind](draft, name))))
    for concept, probability in (("contact", 0.3), ("phone", 0.2), ("email", 0.15), ("project", 0.1)):
        if style.chance(f"info/{concept}", probability):
            value = draft.issuer.get(concept) or draft.noise_number()
            found.append(Pair(style.word(concept), text(value)))
    return found


def _reference(draft: Draft, name: str) -> str:
    """A number that is not the document's, though it may look like it."""
    year = draft.facts["document_date"][:4]
    return draft.style.rng(f"noise_shape/{name}").choice(
        (
            draft.noise_number(),
            f"{name[:2].upper()}-{draft.noise_number()}",
            f"{year}-{draft.facts['document_number']}",
            f"{draft.noise_number()}/{year[2:]}",
        )
    )


def _one_of(draft: Draft, name: str, options: Sequence[str]) -> str:
    return draft.style.rng(f"noise/{name}").choice(options)


CODES: dict[str, tuple[str, ...]] = {
    "type": ("NB", "ZNB", "TA", "OR", "ZOR", "KB", "Z01", "FO"),
    "shipping": ("DHL", "UPS", "DPD", "GLS", "FedEx", "TNT"),
}
"""What pairs of a kind have for values."""
_GUIDELINES = (
    "urn:cen.eu:en16931:2017", "urn:cen.eu:en16931:2017", "urn:factur-x.eu:1p0:basic", "urn:factur-x.eu:1p0:minimum",
    "urn:cen.eu:en16931:2017#conformant",
)  # fmt: skip
_VALUES: dict[str, Callable[[Draft, str], str]] = {
    "reference": _reference,
    "person": lambda draft, _name: str(draft.issuer["contact"]),
    "department": lambda draft, name: _one_of(draft, name, pools()[draft.style.language]["departments"]),
    "type": lambda draft, name: _one_of(draft, name, CODES["type"]),
    "shipping": lambda draft, name: _one_of(draft, name, CODES["shipping"]),
}


def _other_dates(draft: Draft) -> list[Pair]:
    """Dates that are neither the document's nor due: periods, validity, printing."""
    style = draft.style
    count = style.pick("other_dates", (0, 0, 0, 0, 0, 1, 1, 2, 3))
    found = []
    for index, name in enumerate(style.rng("other_date_names").sample(style.synonyms("other_dates"), count)):
        day = date.fromisoformat(draft.facts["document_date"]) + timedelta(
            days=draft.rng.randint(*days_after(name, style))
        )
        value = text(style.date(day))
        if name in style.synonyms("periods") and style.chance(f"other_date_range/{index}", 0.8):
            value = text(f"{style.date(day)} - {style.date(day + timedelta(days=30))}")
        found.append(Pair(name, value))
    return found


def days_after(name: str, style: Style) -> tuple[int, int]:
    """Between which days after the document a date of that name lies: nothing is printed after tomorrow."""
    if name in style.synonyms("past_dates"):
        return -60, 0
    return (1, 90) if name in style.synonyms("coming_dates") else (-60, 90)


def codes(style: Style) -> list[tuple[str, str]]:
    """Codes of processes and states with their labels, as forms show them."""
    if not style.chance("codes", 0.15):
        return []
    options = labels(style.language)["other_codes"]
    rng = style.rng("codes")
    names = rng.sample(list(options), min(len(options), rng.choice((1, 2, 3, 5))))
    return [(name, str(rng.choice(options[name]))) for name in names]
