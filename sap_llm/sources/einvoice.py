"""Truth from e-invoice and e-order XML: CII (ZUGFeRD 2, Factur-X), ZUGFeRD 1, Order-X, UBL and Peppol documents.

Belongs here: applying the paths of `einvoice_table` to an XML and what the standards say about single values. Where
values stand on the page is `alignment`.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from lxml import etree

from sap_llm.schema.errors import SapLlmError, SourceError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import canonical
from sap_llm.sources.einvoice_table import Syntax, compiled, document_class, syntax_of
from sap_llm.sources.truth import Truth

ATTACHMENT_NAMES = (
    "factur-x.xml",
    "zugferd-invoice.xml",
    "xrechnung.xml",
    "order-x.xml",
    "cida.xml",
)  # ZUGFeRD 1 differs from 2.0 by case only
_NUMBER_LINE = re.compile(r":|\d{5}")
_SUBJECT = re.compile(r"^#[A-Z]{2,3}#")  # EN 16931-3-2 writes the subject code (BT-21) in front of a UBL note
_TAX_RATE = "tax_rate"
_GOODS = frozenset(
    {
        *("line_description", "line_material_number", "line_quantity", "line_net_amount"),
        *("line_short_quantity", "line_rejected_quantity", "line_open_quantity"),
    }
)


class UnknownSyntaxError(SourceError):
    """An XML that is no document that the path table knows."""


def choose_attachment(attachments: dict[str, bytes]) -> bytes | None:
    """The invoice or order XML among a PDF's attachments; None if there is none."""
    by_name = {name.lower(): content for name, content in attachments.items()}
    return next((by_name[name] for name in ATTACHMENT_NAMES if name in by_name), None)


def read_truth(xml: bytes, *, name: str) -> Truth:
    """Read header and lines of an e-invoice, e-order, despatch or receipt advice.

    Every taxonomy field that has a path in the document's syntax and may occur in its class is read. A field with
    several values takes the first; a tax rate only where there is a single one. Lines that hold but a remark are none.

    Raises:
        SourceError: Not well-formed.
        UnknownSyntaxError: Not a known syntax.
    """
    root = _parse(xml, name)
    syntax = syntax_of(root)
    if syntax is None:
        raise UnknownSyntaxError(
            f"unknown XML root {etree.QName(root).text}",
            where=name,
            remedy="Known: CII, ZUGFeRD 1, Order-X, and UBL invoices, orders, despatch and receipt advices.",
        )
    kind = document_class(etree.QName(root).localname, _first(root, (syntax.type_code,)))
    header = _values(root, _allowed(syntax.header, kind))
    _mend(header, root, syntax, kind)
    items = [element for path in syntax.line_items for element in compiled(path)(root)]
    lines = [_line(_values(item, _allowed(syntax.lines, kind))) for item in items]
    return Truth(
        document_type=kind, header=header, lines=tuple(line for line in lines if _GOODS & line.keys()), source="xml"
    )


def content_digest(xml: bytes, *, name: str) -> str:
    """Digest of the canonical form: equal for files that differ in encoding, byte order mark or attribute order only.

    Raises:
        SourceError: Not well-formed.
    """
    return hashlib.sha256(etree.tostring(_parse(xml, name), method="c14n")).hexdigest()


def fault_reason(error: SapLlmError) -> str:
    """Quarantine reason of a file whose page or XML could not be read."""
    return {
        "UnreadableDocumentError": "unreadable",
        "MissingToolError": "needs_ocr",
        "UnknownSyntaxError": "no_mapping",
    }.get(type(error).__name__, "bad_xml")


def _mend(header: dict[str, str], root: Any, syntax: Syntax, kind: str) -> None:
    """What the standards say about single values beyond their path."""
    rates = {float(rate) for path in syntax.header[_TAX_RATE] for rate in _all(root, path) if _is_number(rate)}
    header.pop(_TAX_RATE, None)
    if len(rates) == 1:  # several rates: no single value is the truth
        header[_TAX_RATE] = f"{rates.pop():g}"
    for party in ("seller_name", "buyer_name"):
        rows = _first(root, syntax.header[party])
        if rows:
            header[party] = " ".join(_party_name(rows).split())
        trading = party.replace("name", "trading_name")
        if header.get(trading) == header.get(party):  # UBL writers repeat the name where there is no other
            header.pop(trading, None)
    if note := header.get("document_note"):
        header["document_note"] = _SUBJECT.sub("", note)
    if syntax.name == "ubl" and canonical(header.get("iban", ""), "iban") is None and "iban" in header:
        header.setdefault("account_number", header.pop("iban"))  # UBL has one element for both
    if kind == "PURCHASE_ORDER":
        header.pop("order_reference", None)  # its own number is the order


def _line(line: dict[str, str]) -> dict[str, str]:
    """A line without a gross price that is the net price: EN 16931 asks for one only where there is a discount."""
    prices = [canonical(line.get(name, ""), "amount") for name in ("line_gross_price", "line_unit_price")]
    return {name: value for name, value in line.items() if name != "line_gross_price" or prices[0] != prices[1]}


def _allowed(paths: Mapping[str, tuple[str, ...]], kind: str) -> dict[str, tuple[str, ...]]:
    """The fields that may occur in the class."""
    taxonomy = load_taxonomy()
    return {name: options for name, options in paths.items() if kind in (taxonomy.field(name).classes or (kind,))}


def _values(element: Any, paths: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    found = {name: _first(element, options) for name, options in paths.items()}
    return {name: " ".join(value.split()) for name, value in found.items() if value is not None}


def _parse(xml: bytes, name: str) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, remove_comments=True)
    try:
        return etree.fromstring(xml.removeprefix(b"\xef\xbb\xbf").lstrip(), parser=parser)
    except etree.XMLSyntaxError as error:
        raise SourceError(f"not well-formed XML ({error})", where=name, remedy="Check the attachment.") from error


def _party_name(name: str) -> str:
    """A party's name without lines that only hold its numbers (`GLN 4333741000005`)."""
    rows = [row.strip() for row in name.splitlines() if row.strip()]
    named = [row for row in rows if not _NUMBER_LINE.search(row)]
    return " ".join(named or rows)


def _first(element: Any, options: tuple[str, ...]) -> str | None:
    return next((value for path in options for value in _all(element, path)), None)


def _all(element: Any, path: str) -> list[str]:
    found = compiled(path)(element)
    texts = [str(item) if isinstance(item, str) else "".join(item.itertext()) for item in found]
    return [text.strip() for text in texts if text.strip()]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
