"""What a page of documentation says about SAP's fields: texts by section, and rows of field tables, linked if certain.

Belongs here: the tables of pages, wording, and when a row is certainly about a field. HTML is `help_html`; properties
come from `edmx`.

A row is linked to taxonomy fields when it names their TABLE-FIELD: in one cell (EKKO-EBELN), in two, or with the table
in caption or heading ("Table EKKO"). It is linked to properties when caption or a heading names an entity type and the
row one of its properties. Anything else, such as an equal label, stays unlinked: it would be a guess.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sap_llm.reading.language import detect_language
from sap_llm.schema.taxonomy import FieldSpec
from sap_llm.sources.help_html import Block, HtmlPage, HtmlTable

HELP_PAGES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # address, or file in its folder
        pa.field("title", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),  # empty where neither page nor words tell
        pa.field("licence", pa.string(), nullable=False),  # as the page states it, often an address
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("sections", pa.int32(), nullable=False),  # texts in the corpus
        pa.field("fields", pa.int32(), nullable=False),  # rows of field tables
    ]
)
HELP_FIELDS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("heading", pa.string(), nullable=False),  # headings above the table, joined by " > "
        pa.field("name", pa.string(), nullable=False),  # of field or property, as printed
        pa.field("table", pa.string(), nullable=False),  # of the data dictionary; empty where none is named
        pa.field("label", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("taxonomy_fields", pa.list_(pa.string()), nullable=False),
        pa.field("properties", pa.list_(pa.string()), nullable=False),  # ids as in the graph
    ]
)

_SECTION_LEVELS = 2  # headings further down stand inside a section's text
_MAX_SECTION_CHARACTERS = 20_000
_JOINED = " > "
_NAME = re.compile(r"[A-Za-z_/][\w/]{1,60}")
_TABLE_FIELD = re.compile(r"([A-Z/][A-Z0-9_/]{1,29})[-~]([A-Z0-9_/]{2,30})")
_NAMED_TABLE = re.compile(r"\b(?i:table|tabelle|structure|struktur|tabla|estructura)\s+([A-Z][A-Z0-9_/]{2,29})\b")
_HEADS: Mapping[str, frozenset[str]] = {  # role of a column -> what stands above it; name is the weakest of field's
    role: frozenset(texts.split("|"))
    for role, texts in {
        "field": "technical name|technischer name|nom technique|nombre técnico|field name|feldname|field|feld|champ|"
        "campo|property name|property|eigenschaft|parameter|element|attribute|column|name",
        "table": "table|tabelle|table name|structure|struktur|tabla|estructura",
        "label": "label|field label|feldbezeichnung|bezeichnung|short text|kurztext|text|name",
        "description": "description|short description|meaning|explanation|definition|comment|use|beschreibung|"
        "kurzbeschreibung|bedeutung|erläuterung|signification|descripción|descripcion|significado",
        "type": "type|data type|edm type|typ|datentyp|tipo",
    }.items()
}


@dataclass(frozen=True, kw_only=True)
class _FieldRow:
    name: str
    table: str
    label: str
    description: str
    type: str


class FieldLinks:
    """What rows can be linked to: the taxonomy, and the properties of the services that were read."""

    def __init__(self, fields: Iterable[FieldSpec], properties: Iterable[Mapping[str, Any]]) -> None:
        """Index both.

        Args:
            fields: Of the taxonomy.
            properties: Rows of the table `properties`.
        """
        self._by_sap: dict[str, list[str]] = defaultdict(list)
        for spec in fields:
            if spec.sap is not None:
                self._by_sap[spec.sap].append(spec.name)
        self._by_entity: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for row in properties:
            self._by_entity[row["entity_type"]][row["property"]].append(row)

    def of(self, row: _FieldRow, context: Sequence[str]) -> tuple[list[str], list[str]]:
        """Taxonomy fields and ids of properties that a row is certainly about.

        Args:
            row: One row of a field table.
            context: Caption and headings above it.
        """
        fields = list(self._by_sap.get(f"{row.table}-{row.name}", ()))
        ids = []
        for word in dict.fromkeys(word for text in context for word in re.findall(r"\w+", text)):
            for item in self._by_entity.get(word, {}).get(row.name, ()):
                ids.append(f"{item['service']}#{item['entity_type']}/{item['property']}")
                fields += [name for name in item["taxonomy_fields"] if name not in fields]
        return fields, ids


def page_rows(
    source: str, digest: str, page: HtmlPage, links: FieldLinks
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of one page for `help_pages`, `corpus` and `help_fields`."""
    texts = list(_sections(page))
    language = page.language or detect_language(word for _, text in texts for word in text.split()) or ""
    corpus = [
        {
            "text_id": f"{source}#{number}",
            "kind": "help_page",
            "service": source,
            "entity_type": "",
            "language": language,
            "text": text,
        }
        for number, (_, text) in enumerate(texts, start=1)
    ]
    fields = []
    for part in page.parts:
        if isinstance(part, HtmlTable):
            context = (part.caption, *reversed(part.path))
            for row in _field_rows(part, context):
                taxonomy_fields, properties = links.of(row, context)
                place = {"source": source, "heading": _JOINED.join(part.path)}
                fields.append({**place, **vars(row), "taxonomy_fields": taxonomy_fields, "properties": properties})
    about = {"source": source, "title": page.title, "language": language, "licence": page.licence, "sha256": digest}
    return {**about, "sections": len(corpus), "fields": len(fields)}, corpus, fields


def _sections(page: HtmlPage) -> Iterator[tuple[tuple[str, ...], str]]:
    """(heading path, text) of each run of parts below the same upper headings, in pieces of bounded length."""
    path: tuple[str, ...] | None = None
    lines: list[str] = []
    length = 0
    for part in page.parts:
        if isinstance(part, Block) and part.kind == "heading" and len(part.path) <= _SECTION_LEVELS:
            here, said = part.path, []
        else:
            here, said = part.path[:_SECTION_LEVELS], list(_lines(part))
        if here != path or length > _MAX_SECTION_CHARACTERS:
            if lines and path is not None:
                yield path, _section(path, lines)
            path, lines, length = here, [], 0
        lines += said
        length += sum(map(len, said))
    if lines and path is not None:
        yield path, _section(path, lines)


def _section(path: tuple[str, ...], lines: list[str]) -> str:
    return "\n".join([_JOINED.join(path), *lines] if path else lines)


def _lines(part: Block | HtmlTable) -> Iterator[str]:
    if isinstance(part, Block):
        yield f"- {part.text}" if part.kind == "item" else part.text
        return
    if part.caption:
        yield part.caption
    for row in part.rows:
        if part.head:
            named = zip(part.head, row, strict=False)
            yield "; ".join(f"{head}: {cell}" if head else cell for head, cell in named if cell)
        else:
            yield ": ".join(filter(None, row))


def _field_rows(table: HtmlTable, context: Sequence[str]) -> Iterator[_FieldRow]:
    """Rows that name a field and say something about it."""
    roles = _roles(table.head) if table.head else {"field": 0, "description": 1}
    if "field" not in roles or not {"label", "description"} & set(roles):
        return
    around = next((match.group(1) for text in context if (match := _NAMED_TABLE.search(text))), "")
    for row in table.rows:
        values = {role: row[column] for role, column in roles.items() if column < len(row)}
        name, named = values.get("field", ""), values.get("table", "").upper() or around.upper()
        if both := _TABLE_FIELD.fullmatch(name):
            named, name = both.groups()
        label, description = values.get("label", ""), values.get("description", "")
        is_technical = bool(table.head) or bool(both) or name.isupper() or "_" in name
        if _NAME.fullmatch(name) and is_technical and (label or description):
            yield _FieldRow(name=name, table=named, label=label, description=description, type=values.get("type", ""))


def _roles(head: Sequence[str]) -> dict[str, int]:
    """Column of each role; of several that could name the field, the most technical does, and "name" is a label."""
    titles = [text.strip(" :*").casefold() for text in head]
    roles: dict[str, int] = {}
    named = [column for column, title in enumerate(titles) if title in _HEADS["field"]]
    if named:
        roles["field"] = min(named, key=lambda column: (titles[column] == "name", "techni" not in titles[column]))
    for role in ("table", "label", "description", "type"):
        for column, title in enumerate(titles):
            if title in _HEADS[role] and column not in roles.values():
                roles[role] = column
                break
    return roles
