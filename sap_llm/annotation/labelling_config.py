"""The labelling configuration of Label Studio, made from the taxonomy.

Belongs here: names of the tags and the XML that a project gets. How an answer on these tags becomes a row of
`annotations` is `regions`; talking to the server is `label_studio_desk`.

264 labels are too many to look through, so the fields of nearly every document stand open in front and the others in
folded groups; one filter box searches each group by name.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from sap_llm.evaluation.fields import REPORTED_FIELDS
from sap_llm.schema.taxonomy import FieldSpec, load_taxonomy

PAGE = "page"
"""The image tag; its pictures are the task's `pages`, so an item index is a page number less one."""
TRANSCRIPTION = "transcription"
"""Text of one region: what the page shows; of a row the line number."""
DOCUMENT_TYPE = "document_type"
UNPRINTED = "unprinted"
"""Values that are known but stand nowhere on the page, `field=value` each, `3.line_unit=PC` for the third line."""
WHY = "why"
"""Reason of an arbitration."""
ROW_OF = "row"
"""Relation from the region of a line field to the region of its row."""

ROW_LABEL, TABLE_LABEL = "LINE_ITEM", "TABLE"
BLOCK_LABELS: Mapping[str, str] = MappingProxyType(
    {f"BLOCK_{kind.upper()}": kind for kind in ("header", "address", "table", "totals", "text", "footer")}
)
"""Label -> kind of a layout block (`tables.LAYOUT_BLOCK`)."""

_PARTIES = ("seller_", "buyer_", "payee_", "invoicee_", "ship_", "employee_", "account_", "bank_", "goods_recipient")
_NUMBERS = frozenset({"amount", "percent", "currency", "quantity", "integer"})
_COMMON_LINE = frozenset({"line_number", "line_description", "line_quantity", "line_unit", "line_unit_price"}) | {
    "line_material_number",
    "line_net_amount",
}


def subtype_tag(document_type: str) -> str:
    """Name of the tag with the subtypes of a class."""
    return f"subtype_{document_type}"


@cache
def labelling_config(*, is_arbitration: bool) -> str:
    """The XML of a project.

    Args:
        is_arbitration: Ask for the reason of the decision.
    """
    view = Element("View", {"style": "display: flex"})
    _sidebar(SubElement(view, "View", {"style": "flex: 0 0 22em; overflow-y: auto; max-height: 92vh"}), is_arbitration)
    page = SubElement(view, "View", {"style": "flex: 1"})
    SubElement(page, "Image", {"name": PAGE, "valueList": "$pages", "zoomControl": "true", "rotateControl": "false"})
    SubElement(
        page,
        "TextArea",
        {
            "name": TRANSCRIPTION,
            "toName": PAGE,
            "perRegion": "true",
            "editable": "true",
            "maxSubmissions": "1",
            "placeholder": "Text as the page shows it; empty: the words in the box. Of a LINE_ITEM its number.",
        },
    )
    SubElement(SubElement(view, "Relations"), "Relation", {"value": ROW_OF})
    indent(view)
    return tostring(view, encoding="unicode")


def _sidebar(parent: Element, is_arbitration: bool) -> None:
    taxonomy = load_taxonomy()
    _choices(parent, DOCUMENT_TYPE, {entry.name: entry.description for entry in taxonomy.classes}, required="true")
    for entry in taxonomy.classes:
        if entry.subtypes:
            shown = SubElement(
                parent,
                "View",
                {"visibleWhen": "choice-selected", "whenTagName": DOCUMENT_TYPE, "whenChoiceValue": entry.name},
            )
            _choices(shown, subtype_tag(entry.name), {sub.name: sub.description for sub in entry.subtypes})
    if is_arbitration:
        why = {"name": WHY, "toName": PAGE, "required": "true", "maxSubmissions": "1", "rows": "2"}
        SubElement(parent, "TextArea", {**why, "placeholder": "Why this is right"})
    structure = {ROW_LABEL: "one line item, over its whole width", TABLE_LABEL: "a table with its head"}
    _labels(parent, "structure", structure | {label: f"block: {kind}" for label, kind in BLOCK_LABELS.items()})
    first, *others = _groups().items()
    _filtered(parent, *first)
    folded = SubElement(parent, "Collapse", {"accordion": "false"})
    for name, specs in others:
        _filtered(SubElement(folded, "Panel", {"value": f"{name.replace('_', ' ')} ({len(specs)})"}), name, specs)
    SubElement(
        parent,
        "TextArea",
        {
            "name": UNPRINTED,
            "toName": PAGE,
            "editable": "true",
            "rows": "1",
            "placeholder": "known but not printed: field=value, 3.line_unit=PC for line 3",
        },
    )


def _groups() -> dict[str, list[FieldSpec]]:
    """Fields by group, those of nearly every document first; each field in exactly one."""
    groups: dict[str, list[FieldSpec]] = {"common": []}
    for spec in load_taxonomy().fields:
        groups.setdefault(_group(spec), []).append(spec)
    return groups


def _group(spec: FieldSpec) -> str:
    if spec.name in REPORTED_FIELDS or spec.name in _COMMON_LINE:
        return "common"
    if spec.level == "line":
        return "line_fields"
    if spec.name.startswith(_PARTIES):
        return "parties_and_banks"
    if spec.type == "date":
        return "dates"
    return "numbers" if spec.type in _NUMBERS else "references_and_texts"


def _filtered(parent: Element, name: str, specs: Iterable[FieldSpec]) -> None:
    tag = f"field_{name}"
    SubElement(parent, "Filter", {"name": f"filter_{name}", "toName": tag, "minlength": "0", "placeholder": "find"})
    _labels(parent, tag, {spec.name: spec.description for spec in specs})


def _labels(parent: Element, tag: str, hints: Mapping[str, str]) -> None:
    labels = SubElement(parent, "RectangleLabels", {"name": tag, "toName": PAGE, "canRotate": "false"})
    for value, hint in hints.items():
        SubElement(labels, "Label", {"value": value, "hint": hint})


def _choices(parent: Element, tag: str, hints: Mapping[str, str], **more: str) -> None:
    shown = {"name": tag, "toName": PAGE, "choice": "single", "layout": "select", **more}
    choices = SubElement(parent, "Choices", shown)
    for value, hint in hints.items():
        SubElement(choices, "Choice", {"value": value, "hint": hint})


@cache
def tag_of() -> Mapping[str, str]:
    """Label -> name of the RectangleLabels tag that holds it."""
    structure = [ROW_LABEL, TABLE_LABEL, *BLOCK_LABELS]
    fields = {spec.name: f"field_{name}" for name, specs in _groups().items() for spec in specs}
    return MappingProxyType(dict.fromkeys(structure, "structure") | fields)
