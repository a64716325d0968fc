"""Truth from e-invoice and e-order XML: CII (ZUGFeRD 2, Factur-X), ZUGFeRD 1, Order-X and UBL.

Belongs here: applying the path table `einvoice_paths.yaml` to an XML. Where values stand on the page is `alignment`.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from lxml import etree

from sap_llm.schema.errors import SourceError
from sap_llm.sources.truth import Truth

ATTACHMENT_NAMES = (
    "factur-x.xml",
    "zugferd-invoice.xml",
    "xrechnung.xml",
    "order-x.xml",
    "cida.xml",
)  # ZUGFeRD 1 differs from 2.0 by case only
_STEP = re.compile(r"^(?P<name>\w+|@\w+)(?:\[(?P<key>@?\w+)=(?P<value>\w+)\])?$")
_UBL = "urn:oasis:names:specification:ubl"
_NUMBER_LINE = re.compile(r":|\d{5}")


def choose_attachment(attachments: dict[str, bytes]) -> bytes | None:
    """The invoice or order XML among a PDF's attachments; None if there is none."""
    by_name = {name.lower(): content for name, content in attachments.items()}
    return next((by_name[name] for name in ATTACHMENT_NAMES if name in by_name), None)


def read_truth(xml: bytes, *, name: str) -> Truth:
    """Read header and lines of an e-invoice or e-order.

    Raises:
        SourceError: Not well-formed, or not a known syntax.
    """
    root = _parse(xml, name)
    paths = _paths(root, name)
    code = _first(root, paths["type_code"]) or etree.QName(root).localname
    classes = _table()["classes"]
    header = {field: value for field, options in paths["header"].items() if (value := _first(root, options))}
    rates = {float(rate) for rate in _all(root, paths["tax_rates"]) if _is_number(rate)}
    if len(rates) == 1:  # several rates: no single value is the truth
        header["tax_rate"] = f"{rates.pop():g}"
    for party in ("seller_name", "buyer_name"):
        if party in header:
            header[party] = _party_name(header[party])
    document_type = classes.get(code, classes["default"])
    if document_type == "PURCHASE_ORDER":
        header.pop("order_reference", None)  # its own number is the order
    line_paths = paths.get("line_elements", [paths["line"]])
    elements = [element for path in line_paths for element in _elements(root, path)]
    lines = [
        {
            field: " ".join(value.split())
            for field, options in paths["lines"].items()
            if (value := _first(item, options))
        }
        for item in elements
    ]
    return Truth(
        document_type=document_type,
        header={field: " ".join(value.split()) for field, value in header.items()},
        lines=tuple(line for line in lines if line),
        source="xml",
    )


def _parse(xml: bytes, name: str) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, remove_comments=True)
    try:
        return etree.fromstring(xml.removeprefix(b"\xef\xbb\xbf").lstrip(), parser=parser)
    except etree.XMLSyntaxError as error:
        raise SourceError(f"not well-formed XML ({error})", where=name, remedy="Check the attachment.") from error


def _paths(root: Any, name: str) -> dict[str, Any]:
    qualified = etree.QName(root)
    is_ubl = (qualified.namespace or "").startswith(_UBL)
    for syntax in ("cii", "zugferd1", "ubl"):
        paths: dict[str, Any] = _table()[syntax]
        if qualified.localname in paths["roots"] and (syntax == "ubl") == is_ubl:
            return paths
    raise SourceError(
        f"unknown XML root {qualified.text}", where=name, remedy="Known: CII, ZUGFeRD 1, Order-X and UBL documents."
    )


def _party_name(name: str) -> str:
    """A party's name without lines that only hold its numbers (`GLN 4333741000005`)."""
    rows = [row.strip() for row in name.splitlines() if row.strip()]
    named = [row for row in rows if not _NUMBER_LINE.search(row)]
    return " ".join(named or rows)


def _first(element: Any, options: list[str]) -> str | None:
    return next((value for path in options for value in _all(element, path)), None)


def _all(element: Any, path: str) -> list[str]:
    found = _xpath(path)(element)
    texts = [str(item) if isinstance(item, str) else "".join(item.itertext()) for item in found]
    return [text.strip() for text in texts if text.strip()]


def _elements(element: Any, path: str) -> list[Any]:
    found: list[Any] = _xpath(path)(element)
    return found


@cache
def _xpath(path: str) -> Any:
    """Compile a path of local names, whatever the namespaces (they differ between releases of one syntax)."""
    steps = []
    for step in path.split("/"):
        match = _STEP.match(step)
        assert match, f"bad step {step!r} in {path!r}"
        if match["name"].startswith("@"):
            steps.append(match["name"])
            continue
        key = match["key"] or ""
        place = key if key.startswith("@") else f".//*[local-name()='{key}']"
        condition = f" and {place}='{match['value']}'" if key else ""
        steps.append(f"*[local-name()='{match['name']}'{condition}]")
    return etree.XPath("/".join(steps))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@cache
def _table() -> dict[str, Any]:
    text = files("sap_llm.sources").joinpath("einvoice_paths.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
