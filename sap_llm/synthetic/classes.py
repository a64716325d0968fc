"""What a document of a class consists of: issuers, pairs, columns, prices, sums, payment.

The reader of `data/classes.yaml`, by which every way of setting pages goes; a class is changed there. The words of
labels are not here (`style.labels`), nor facts (`chains`).
"""

from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.synthetic.pools import read_data

Role = Literal["seller", "buyer"]


class Place(BaseModel):
    """Where a pair or a column has its value, and what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str  # of the payload, or of a line
    kind: Literal["text", "date", "amount", "quantity"] = "text"
    field: str = ""  # of the taxonomy; empty where the value is no field


class ClassSpec(BaseModel):
    """One class; `pairs` and `columns` give the share of layouts that show each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuers: tuple[Role, ...]
    prices: Literal["lines", "list", "none"]
    sums: Literal["taxed", "order", "net", "none"]
    payment: Literal["bank", "terms", "none"]
    pairs: dict[str, float]
    columns: dict[str, float]
    headings: dict[Role, str] = {}
    marks: tuple[str, ...] = ()
    is_internal: bool = False
    type_code: str = ""


class Classes(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: dict[str, Place]
    columns: dict[str, Place]
    classes: dict[str, ClassSpec]


@cache
def class_table() -> Classes:
    """The table that ships with this package."""
    return Classes.model_validate(read_data("classes"))


def class_spec(document_type: str) -> ClassSpec:
    """What a class consists of; KeyError if the table has no such class."""
    return class_table().classes[document_type]


def trade_classes() -> tuple[str, ...]:
    """All classes of the table in its order."""
    return tuple(class_table().classes)


@cache
def pair_place(name: str, document_type: str) -> Place | None:
    """Where the value of a pair is; None for pairs that blocks make in their own way (`page`, `currency`, ...)."""
    return _allowed(class_table().pairs.get(name), document_type)


@cache
def column_place(name: str, document_type: str) -> Place | None:
    """Where the cells of an additional column have their values; None for the usual columns."""
    return _allowed(class_table().columns.get(name), document_type)


@cache
def field_of(name: str, document_type: str) -> str:
    """The field, or "" where documents of the class cannot have it."""
    classes = load_taxonomy().field(name).classes
    return name if not classes or document_type in classes else ""


def _allowed(place: Place | None, document_type: str) -> Place | None:
    """The place, without its field where documents of the class cannot have that field."""
    if place is None or not place.field:
        return place
    return place.model_copy(update={"field": field_of(place.field, document_type)})
