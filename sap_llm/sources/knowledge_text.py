"""What SAP's services say about themselves, as sentences for domain adaptation and as a report for people.

Belongs here: wording. The numbers are counted by `knowledge`, the tables are `knowledge_tables`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sap_llm.sources.edmx import EntityType, Navigation, Property, Service
from sap_llm.sources.taxonomy_match import words

_KINDS = {
    "String": "text",
    "Boolean": "yes or no",
    "Date": "date",
    "DateTime": "date",
    "DateTimeOffset": "moment with time zone",
    "Time": "time of day",
    "TimeOfDay": "time of day",
    "Duration": "duration",
    "Guid": "globally unique id",
    "Binary": "binary content",
    "Stream": "binary content",
    **dict.fromkeys(("Byte", "SByte", "Int16", "Int32", "Int64"), "whole number"),
    **dict.fromkeys(("Decimal", "Double", "Single", "Float"), "decimal number"),
}
_CONTROLS = {
    "mandatory": "must be filled",
    "optional": "may be left empty",
    "read_only": "is set by the system",
    "hidden": "is hidden",
    "inapplicable": "does not apply",
}
_MULTIPLICITIES = {"*": "any number of records", "1": "exactly one record", "0..1": "at most one record"}
_LISTED = 60  # rows of a list in the report; the table has all


def describe(service: Service, entity: EntityType) -> str:
    """One entity type in sentences: what it is, what identifies it, every property, and where it leads."""
    title = entity.label or _title(entity.name)
    sentences = [f"{title} ({entity.name}) is an entity type of the SAP service {service.namespace}."]
    sentences += _sentence(entity.description)
    named = {item.name: _named(item) for item in entity.properties}
    if entity.keys:
        sentences.append(f"A record is identified by {_enumerated([named[key] for key in entity.keys])}.")
    sentences += [_property(item, named) for item in entity.properties]
    sentences += [_navigation(title, item) for item in entity.navigations]
    return "\n".join(sentences)


def _title(name: str) -> str:
    return words(name.removeprefix("A_").removesuffix("_Type").removesuffix("Type")).capitalize()


def _named(item: Property) -> str:
    return f"{item.label or _title(item.name)} ({item.name})"


def _sentence(text: str) -> list[str]:
    return [text if text.endswith((".", "!", "?")) else f"{text}."] if text else []


def _property(item: Property, named: Mapping[str, str]) -> str:
    """`Net Order Price (NetPriceAmount): Net Price in ... It is a decimal number ..., given in Currency (...)`."""
    said = [item.quickinfo if item.quickinfo.lower() != item.label.lower() else "", item.description]
    parts = [f"is a {_kind(item)}" if not _kind(item).startswith("yes") else f"is {_kind(item)}"]
    if item.is_key:
        parts.append("is part of the key")
    if control := _CONTROLS.get(item.field_control):
        parts.append(control)
    if item.unit:
        parts.append(f"is given in {named.get(item.unit, item.unit)}")
    if item.text:
        parts.append(f"is explained by {named.get(item.text, item.text)}")
    if item.value_list:
        parts.append("takes its values from a list")
    sentences = [sentence for text in said for sentence in _sentence(text)]
    return " ".join([f"{named[item.name]}:", *sentences, f"It {_enumerated(parts)}."])


def _kind(item: Property) -> str:
    if not item.type.startswith("Edm."):
        return f"value of type {item.type}"
    kind = _KINDS.get(item.type.removeprefix("Edm."), item.type)
    if kind == "text" and item.max_length:
        return f"text of up to {item.max_length} characters" if item.max_length > 1 else "text of one character"
    if kind == "decimal number" and item.precision:
        return f"decimal number of {item.precision} digits" + (f", {item.scale} after the point" if item.scale else "")
    return kind


def _navigation(title: str, item: Navigation) -> str:
    target = _title(item.target) if item.target else "another entity type"
    return f"{title} leads by {item.name} to {_MULTIPLICITIES.get(item.multiplicity, 'records')} of {target}."


def _enumerated(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def report(
    *,
    metrics: Mapping[str, Any],
    by_rule: Mapping[str, int],
    services: Sequence[Mapping[str, Any]],
    unmatched: Sequence[Mapping[str, Any]],
    faults: Sequence[Mapping[str, Any]],
) -> str:
    """The report as Markdown: numbers, services, fields without property by reason, what was quarantined."""
    fields = metrics["taxonomy_fields"]
    read = (
        f"{metrics['services']} services, {metrics['entity_types']:,} entity types, {metrics['properties']:,} "
        f"properties, {metrics['labelled_share']:.1%} of them with a label."
    )
    rules = ", ".join(f"{rule} {count}" for rule, count in by_rule.items())
    matched = (
        f"Of {fields} taxonomy fields {fields - metrics['unmatched']} have an SAP property "
        f"({metrics['matched_share']:.1%}). Strongest rule: {rules}. Rules: `sap_llm/sources/taxonomy_match.py`."
    )
    pages = (
        f"{metrics['help_pages']} pages of documentation with {metrics['help_fields']:,} rows of field tables, "
        f"{metrics['help_linked']:,} of them linked to a taxonomy field or a property."
    )
    lines = [
        "# SAP API knowledge",
        "",
        read,
        "",
        pages,
        "",
        matched,
        "",
        *_table(
            ("service", "namespace", "OData", "entity types", "properties", "labelled"),
            services,
            ("service", "namespace", "odata_version", "entity_types", "properties", "labelled"),
        ),
        "",
        "## Fields without SAP property",
        "",
        *_table(
            ("field", "SAP name", "why", "names sought"),
            [{**row, "sap": row["sap"] or "", "sought": ", ".join(row["sought"])} for row in unmatched],
            ("field", "sap", "reason", "sought"),
            limit=len(unmatched),
        ),
        "",
        "## Quarantine",
        "",
        *(_table(("source", "why", "remedy"), faults, ("source", "reason", "detail")) if faults else ["Nothing."]),
        "",
    ]
    return "\n".join(lines)


def _table(
    head: Sequence[str], rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, limit: int = _LISTED
) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows[:limit]:
        cells = (str(row[name]).replace("|", "/") for name in columns)
        lines.append(f"| {' | '.join(cells)} |")
    if len(rows) > limit:
        lines.append(f"\n... and {len(rows) - limit} more.")
    return lines
