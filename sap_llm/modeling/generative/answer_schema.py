"""JSON schemas of the model's answers, made from the taxonomy.

Belongs here: the form of an answer by kind of instruction. Filling it from a truth and reading it back is `answers`;
making a model keep to it is `constrained`. Every string and number is bounded, so that an answer always has an end.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_args

from sap_llm.schema.taxonomy import load_taxonomy

Kind = Literal["classify", "extract", "extract_field", "table", "question"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Schema = dict[str, Any]

LONGEST_TEXT = 300
"""Characters of the longest text value; payment terms are the longest that occur."""
MOST_ITEMS = 500
"""Line items of one answer."""

_FORMS = {
    "amount": r"-?[0-9]{1,15}\.[0-9]{2,6}",
    "quantity": r"-?[0-9]{1,12}(\.[0-9]{1,6})?",
    "integer": r"-?[0-9]{1,12}",
    "percent": r"-?[0-9]{1,4}(\.[0-9]{1,6})?",
    "date": r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
    "currency": "[A-Z]{3}",
    "country": "[A-Z]{2}",
    "vat_id": "[A-Z0-9]{2,20}",
    "iban": "[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}",
    "bic": "[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?",
}
"""Canonical values (`schema.values`) by taxonomy type, as regular expressions; other types are text."""


def header_fields() -> tuple[str, ...]:
    """Header fields of the taxonomy in its order, which is also their order in an answer."""
    return tuple(field.name for field in load_taxonomy().fields if field.level == "header")


def line_fields() -> tuple[str, ...]:
    """Line fields of the taxonomy in its order."""
    return tuple(field.name for field in load_taxonomy().fields if field.level == "line")


def value_schema(name: str) -> Schema:
    """Schema of a field's canonical value, a string."""
    form = _FORMS.get(load_taxonomy().field(name).type)
    return {"type": "string", "pattern": f"^{form}$"} if form else _text()


def fits(name: str, value: str) -> bool:
    """Whether a value has the form that `value_schema` of its field wants."""
    form = _FORMS.get(load_taxonomy().field(name).type)
    return re.fullmatch(form, value) is not None if form else 0 < len(value) <= LONGEST_TEXT


def answer_schema(
    kind: Kind, *, pages: int, longest_side: int, fields: Sequence[str] = (), field: str | None = None
) -> Schema:
    """Schema of an answer.

    Args:
        kind: Of the instruction.
        pages: Pages that were shown; page numbers go so far.
        longest_side: Of the pictures shown, pixels; edges of boxes go so far.
        fields: Header fields that `extract` may name, in the order of the answer; all by default.
        field: The one that `extract_field` asks for.
    """
    place = _place(pages, longest_side)
    if kind == "classify":
        return _by_class({})
    if kind == "question":
        return _object({"answer": {"anyOf": [_text(), {"type": "null"}]}})
    if kind == "extract_field":
        if field is None:
            raise ValueError("extract_field needs a field")
        return _object({field: {"anyOf": [_shown(value_schema(field), place), {"type": "null"}]}})
    items = {"type": "array", "maxItems": MOST_ITEMS, "items": {"$ref": "#/$defs/item"}}
    shared = {"item": _item(place), "text": _text()}
    if kind == "table":
        return _object({"line_items": items}) | {"$defs": shared}
    names = tuple(fields) or header_fields()
    types = {name: load_taxonomy().field(name).type for name in names}
    shared |= {f"shown_{types[name]}": _shown(value_schema(name), place) for name in names}
    found = {
        "type": "object",
        "properties": {name: {"$ref": f"#/$defs/shown_{types[name]}"} for name in names},
        "additionalProperties": False,
    }
    return _by_class({"fields": {"$ref": "#/$defs/fields"}, "line_items": items}) | {
        "$defs": shared | {"fields": found}
    }


def _by_class(more: Mapping[str, Any]) -> Schema:
    """Class, a subtype that it has (or null), and further properties."""
    plain = [entry.name for entry in load_taxonomy().classes if not entry.subtypes]
    branches = [_object({"document_type": {"enum": plain}, "document_subtype": {"type": "null"}, **more})]
    for entry in load_taxonomy().classes:
        if entry.subtypes:
            names = [*(subtype.name for subtype in entry.subtypes), None]
            own = {"document_type": {"enum": [entry.name]}, "document_subtype": {"enum": names}}
            branches.append(_object({**own, **more}))
    return {"anyOf": branches}


def _item(place: Schema) -> Schema:
    """A line item: where it stands, then its cells as plain values."""
    cells = {name: value_schema(name) for name in line_fields()}
    cells = {name: {"$ref": "#/$defs/text"} if schema == _text() else schema for name, schema in cells.items()}
    return _object({**place, **cells}) | {"required": list(place)}


def _shown(value: Schema, place: Schema) -> Schema:
    return _object({"value": value, **place})


def _place(pages: int, longest_side: int) -> Schema:
    edge = {"type": "integer", "minimum": 0, "maximum": longest_side}
    return {
        "page": {"type": "integer", "minimum": 1, "maximum": pages},
        "box": {"type": "array", "items": edge, "minItems": 4, "maxItems": 4},
    }


@cache
def _text() -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}


def _object(properties: Mapping[str, Any]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
