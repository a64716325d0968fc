"""Label lists of the document model: what its heads can say.

Belongs here: the order of header and line fields, classes and subtypes, and which fields a source annotates. The
meaning of the names is the taxonomy's (`schema.taxonomy`); turning tags into values is `decoding`.
"""

from dataclasses import asdict, dataclass
from functools import cache

from sap_llm.schema.taxonomy import load_taxonomy

HEADER_FIELDS: tuple[str, ...] = (
    "document_number",
    "document_date",
    "due_date",
    "delivery_date",
    "order_reference",
    "delivery_note_number",
    "customer_number",
    "seller_name",
    "seller_vat_id",
    "buyer_name",
    "buyer_vat_id",
    "total_amount",
    "net_amount",
    "tax_amount",
    "tax_rate",
    "currency",
    "iban",
    "bic",
    "payment_terms",
    "document_title",
)
"""Header fields in order of precedence: a word that carries two of them is tagged with the first."""

LINE_FIELDS: tuple[str, ...] = (
    "line_number",
    "line_material_number",
    "line_description",
    "line_quantity",
    "line_unit",
    "line_unit_price",
    "line_net_amount",
)

OUTSIDE = 0
"""Tag of a word that belongs to no field; field i of a list has tag i + 1."""

IGNORED = -1
"""Label of a word or document that says nothing: unknown, or ambiguous."""

_PARTIAL_SOURCES: dict[str, tuple[str, ...]] = {
    "sroie": ("seller_name", "document_date", "total_amount"),
    "funsd": (),
}


@dataclass(frozen=True)
class LabelSet:
    """All label lists of one model, stored in its config.json."""

    classes: tuple[str, ...]
    subtypes: tuple[tuple[str, str], ...]  # (class, subtype)
    header_fields: tuple[str, ...]
    line_fields: tuple[str, ...]

    def to_json(self) -> dict[str, list[object]]:
        """Plain lists for config.json."""
        return {key: [list(item) if isinstance(item, tuple) else item for item in value]
                for key, value in asdict(self).items()}  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, list[object]]) -> "LabelSet":
        """Read `to_json` back."""
        return cls(
            classes=tuple(str(name) for name in data["classes"]),
            subtypes=tuple((str(pair[0]), str(pair[1])) for pair in data["subtypes"]),  # type: ignore[index]
            header_fields=tuple(str(name) for name in data["header_fields"]),
            line_fields=tuple(str(name) for name in data["line_fields"]),
        )

    def class_id(self, name: str | None) -> int:
        """Index of a class, or `IGNORED`."""
        return self.classes.index(name) if name in self.classes else IGNORED

    def subtype_id(self, document_type: str | None, subtype: str | None) -> int:
        """Index of a subtype of a class, or `IGNORED`."""
        pair = (document_type or "", subtype or "")
        return self.subtypes.index(pair) if pair in self.subtypes else IGNORED

    def subtype_ranges(self) -> dict[int, tuple[int, int]]:
        """Class index -> half-open range of its subtypes (they are listed class by class)."""
        ranges: dict[int, tuple[int, int]] = {}
        for index, (document_type, _) in enumerate(self.subtypes):
            key = self.classes.index(document_type)
            ranges[key] = (ranges.get(key, (index, 0))[0], index + 1)
        return ranges


@cache
def default_labels() -> LabelSet:
    """The lists of the current taxonomy: its classes, its subtypes, the fields of this release."""
    taxonomy = load_taxonomy()
    return LabelSet(
        classes=tuple(entry.name for entry in taxonomy.classes),
        subtypes=tuple((entry.name, subtype.name) for entry in taxonomy.classes for subtype in entry.subtypes),
        header_fields=HEADER_FIELDS,
        line_fields=LINE_FIELDS,
    )


def known_header_fields(source: str) -> tuple[int, ...]:
    """Indices of the header fields whose absence from a truth of `source` means that they are not on the page."""
    names = _PARTIAL_SOURCES.get(source, HEADER_FIELDS)
    if source != "synthetic":  # exports and people name what is booked, never the title
        names = tuple(name for name in names if name != "document_title")
    return tuple(HEADER_FIELDS.index(name) for name in names)


def has_line_truth(source: str) -> bool:
    """Whether a truth of `source` names the line items."""
    return source not in _PARTIAL_SOURCES
