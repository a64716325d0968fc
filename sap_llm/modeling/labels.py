"""Label lists of the document model: what its heads can say.

Belongs here: the order of header and line fields, classes, subtypes and kinds of blocks, and which fields a truth
speaks about. The meaning of the names is the taxonomy's (`schema.taxonomy`); from a truth to labels of words is
`word_labels`; turning tags into values is `decoding`.
"""

from dataclasses import asdict, dataclass
from functools import cache

from sap_llm.schema.taxonomy import load_taxonomy

CORE_HEADER_FIELDS: tuple[str, ...] = (
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
"""Header fields that exports and people name on every document that shows them, and that rules decode together."""

CORE_LINE_FIELDS: tuple[str, ...] = (
    "line_number",
    "line_material_number",
    "line_description",
    "line_quantity",
    "line_unit",
    "line_unit_price",
    "line_net_amount",
)

BLOCK_KINDS: tuple[str, ...] = ("header", "address", "table", "totals", "text", "footer")
"""Kinds of `schema.tables.LAYOUT_BLOCK`."""

VALUE_START, CELL_START, TABLE_ROW_START, BLOCK_START = range(4)
"""Places of the `starts` scores: a word is the first of a field's value, a table cell, a table row, a block."""

WORD_SCORES = ("header", "line", "row_start", "starts", "table", "block")
"""Names of the scores that every word has; the others are the document's."""

OUTSIDE = 0
"""Tag of a word that belongs to no field; field i of a list has tag i + 1."""

IGNORED = -1
"""Label of a word or document that says nothing: unknown, or ambiguous."""

_PARTIAL_SOURCES: dict[str, tuple[str, ...]] = {
    "sroie": ("seller_name", "document_date", "total_amount"),
    "funsd": (),
}


def _in_order(level: str, first: tuple[str, ...]) -> tuple[str, ...]:
    fields = [spec.name for spec in load_taxonomy().fields if spec.level == level]
    return (*first, *(name for name in fields if name not in first))


HEADER_FIELDS: tuple[str, ...] = _in_order("header", CORE_HEADER_FIELDS)
"""All header fields of the taxonomy by precedence: a word that carries two of them is tagged with the first."""

LINE_FIELDS: tuple[str, ...] = _in_order("line", CORE_LINE_FIELDS)


@dataclass(frozen=True)
class LabelSet:
    """All label lists of one model, stored in its config.json.

    `untaught` names the fields that no truth of the model's training showed: it must not say them.
    """

    classes: tuple[str, ...]
    subtypes: tuple[tuple[str, str], ...]  # (class, subtype)
    header_fields: tuple[str, ...]
    line_fields: tuple[str, ...]
    untaught: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, list[object]]:
        """Plain lists for config.json."""
        values = asdict(self) | {"untaught": sorted(self.untaught)}
        return {key: [list(item) if isinstance(item, tuple) else item for item in value]
                for key, value in values.items()}  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, list[object]]) -> "LabelSet":
        """Read `to_json` back."""
        return cls(
            classes=tuple(str(name) for name in data["classes"]),
            subtypes=tuple((str(pair[0]), str(pair[1])) for pair in data["subtypes"]),  # type: ignore[index]
            header_fields=tuple(str(name) for name in data["header_fields"]),
            line_fields=tuple(str(name) for name in data["line_fields"]),
            untaught=frozenset(str(name) for name in data["untaught"]),
        )

    @property
    def trained_header_fields(self) -> tuple[int, ...]:
        """Indices of the header fields that training computes: the core, and what else was taught."""
        return tuple(
            index
            for index, name in enumerate(self.header_fields)
            if name in CORE_HEADER_FIELDS or name not in self.untaught
        )

    @property
    def trained_line_fields(self) -> tuple[int, ...]:
        """Likewise of the line fields."""
        return tuple(
            index
            for index, name in enumerate(self.line_fields)
            if name in CORE_LINE_FIELDS or name not in self.untaught
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
    """The lists of the current taxonomy: its classes, its subtypes, all its fields."""
    taxonomy = load_taxonomy()
    return LabelSet(
        classes=tuple(entry.name for entry in taxonomy.classes),
        subtypes=tuple((entry.name, subtype.name) for entry in taxonomy.classes for subtype in entry.subtypes),
        header_fields=HEADER_FIELDS,
        line_fields=LINE_FIELDS,
    )


def known_fields(source: str, truth_source: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the header and line fields whose absence from a truth means that they are not on the page.

    The generator marks all that it prints. Exports and people name what is booked or asked for: the core, without the
    title; what they say beyond that is right, what they do not say is unknown.

    Args:
        source: Of the document.
        truth_source: Of the annotation (`annotations.source`).
    """
    if source == truth_source == "synthetic":
        return tuple(range(len(HEADER_FIELDS))), tuple(range(len(LINE_FIELDS)))
    names = _PARTIAL_SOURCES.get(source, CORE_HEADER_FIELDS)
    header = tuple(HEADER_FIELDS.index(name) for name in names if name != "document_title" or source == "synthetic")
    return header, tuple(range(len(CORE_LINE_FIELDS))) if has_line_truth(source) else ()


def has_line_truth(source: str) -> bool:
    """Whether a truth of `source` names the line items."""
    return source not in _PARTIAL_SOURCES
