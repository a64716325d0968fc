"""Tables of the dataset `sap_knowledge`: their Arrow schemas and the rows of one service.

Belongs here: `edmx.Service` -> rows. Sentences for training are `knowledge_text`, the stage is `knowledge`.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sap_llm.schema.tables import conform
from sap_llm.sources.edmx import EntityType, Property, Service
from sap_llm.sources.knowledge_text import describe
from sap_llm.sources.taxonomy_match import TaxonomyIndex

SERVICES = pa.schema(
    [
        pa.field("service", pa.string(), nullable=False),  # file in its folder, or address: where it was read
        pa.field("namespace", pa.string(), nullable=False),
        pa.field("odata_version", pa.string(), nullable=False),  # V2 | V3 | V4
        pa.field("language", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the document
        pa.field("entity_types", pa.int32(), nullable=False),
        pa.field("properties", pa.int32(), nullable=False),
        pa.field("labelled", pa.int32(), nullable=False),  # properties with a label
    ]
)
ENTITY_TYPES = pa.schema(
    [
        pa.field("service", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),  # texts are empty where the document says nothing
        pa.field("description", pa.string(), nullable=False),
        pa.field("entity_sets", pa.list_(pa.string()), nullable=False),
        pa.field("keys", pa.list_(pa.string()), nullable=False),
    ]
)
PROPERTIES = pa.schema(
    [
        pa.field("service", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("property", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("is_key", pa.bool_(), nullable=False),
        pa.field("is_nullable", pa.bool_(), nullable=False),
        pa.field("max_length", pa.int32()),
        pa.field("precision", pa.int32()),
        pa.field("scale", pa.int32()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("quickinfo", pa.string(), nullable=False),
        pa.field("heading", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("field_control", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),  # property with the unit or currency, or a code in quotes
        pa.field("text", pa.string(), nullable=False),  # property with the readable text
        pa.field("semantics", pa.string(), nullable=False),
        pa.field("display_format", pa.string(), nullable=False),
        pa.field("data_element", pa.string(), nullable=False),
        pa.field("value_list", pa.string(), nullable=False),  # standard | fixed
        pa.field("taxonomy_fields", pa.list_(pa.string()), nullable=False),
    ]
)
NAVIGATION = pa.schema(
    [
        pa.field("service", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("navigation", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),  # entity type of the same service
        pa.field("multiplicity", pa.string(), nullable=False),  # 1 | 0..1 | *
        pa.field("constraints", pa.list_(pa.string()), nullable=False),  # own=foreign property
    ]
)
VALUE_LISTS = pa.schema(
    [
        pa.field("service", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("property", pa.string(), nullable=False),
        pa.field("collection", pa.string(), nullable=False),  # entity set, or address of another service
        pa.field("label", pa.string(), nullable=False),
        pa.field("parameters", pa.list_(pa.string()), nullable=False),  # kind own=foreign property
    ]
)
CORPUS_TEXTS = pa.schema(
    [
        pa.field("text_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # entity_type | help_page
        pa.field("service", pa.string(), nullable=False),  # of a page: its address, or file in its folder
        pa.field("entity_type", pa.string(), nullable=False),  # empty for a page
        pa.field("language", pa.string(), nullable=False),  # of labels and quickinfo; what is between them is English
        pa.field("text", pa.string(), nullable=False),
    ]
)
MATCHED = pa.schema(
    [
        pa.field("field", pa.string(), nullable=False),  # taxonomy name
        pa.field("sap", pa.string()),
        pa.field("rule", pa.string(), nullable=False),  # technical | released | words
        pa.field("service", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("property", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
    ]
)
UNMATCHED = pa.schema(
    [
        pa.field("field", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),  # header | line
        pa.field("sap", pa.string()),
        pa.field("reason", pa.string(), nullable=False),  # no_property | no_sap_name
        pa.field("sought", pa.list_(pa.string()), nullable=False),  # names that would have matched
        pa.field("description", pa.string(), nullable=False),
    ]
)

SERVICE_TABLES: Mapping[str, pa.Schema] = {
    "services": SERVICES,
    "entity_types": ENTITY_TYPES,
    "properties": PROPERTIES,
    "navigation": NAVIGATION,
    "value_lists": VALUE_LISTS,
    "corpus": CORPUS_TEXTS,
    "matched": MATCHED,
}
"""Schema of each table that grows with every service."""


def entity_id(service: str, entity_type: str) -> str:
    """Id of an entity type over all services, in the corpus and in the graph."""
    return f"{service}#{entity_type}"


def service_tables(name: str, digest: str, service: Service, index: TaxonomyIndex) -> dict[str, pa.Table]:
    """What one document adds to each table.

    Args:
        name: Where it was read; a namespace is not unique, since releases of a service share it.
        digest: sha256 of the document.
        service: Its content.
        index: The taxonomy, to match properties with.
    """
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in SERVICE_TABLES}
    for entity in service.entity_types:
        place = {"service": name, "entity_type": entity.name}
        rows["entity_types"].append(place | _entity(entity))
        rows["corpus"].append(place | _text(name, service, entity))
        rows["navigation"] += [
            place
            | {
                "navigation": item.name,
                "target": item.target,
                "multiplicity": item.multiplicity,
                "constraints": ["=".join(pair) for pair in item.constraints],
            }
            for item in entity.navigations
        ]
        rows["value_lists"] += [
            place
            | {
                "property": item.property,
                "collection": item.collection,
                "label": item.label,
                "parameters": [f"{kind} {own}={foreign}" for kind, own, foreign in item.parameters],
            }
            for item in entity.value_lists
        ]
        for item in entity.properties:
            _add_property(rows, place, item, index)
    properties = rows["properties"]
    rows["services"].append(
        {
            "service": name,
            "namespace": service.namespace,
            "odata_version": service.odata_version,
            "language": service.language,
            "sha256": digest,
            "entity_types": len(service.entity_types),
            "properties": len(properties),
            "labelled": sum(bool(row["label"]) for row in properties),
        }
    )
    return {table: conform(rows[table], schema) for table, schema in SERVICE_TABLES.items()}


def _entity(entity: EntityType) -> dict[str, Any]:
    return {
        "label": entity.label,
        "description": entity.description,
        "entity_sets": list(entity.entity_sets),
        "keys": list(entity.keys),
    }


def _text(name: str, service: Service, entity: EntityType) -> dict[str, Any]:
    return {
        "text_id": entity_id(name, entity.name),
        "kind": "entity_type",
        "language": service.language,
        "text": describe(service, entity),
    }


def _add_property(
    rows: dict[str, list[dict[str, Any]]], place: Mapping[str, str], item: Property, index: TaxonomyIndex
) -> None:
    matches = index.of(item)
    values = {name: value for name, value in vars(item).items() if name != "name"}
    names = {"property": item.name, "taxonomy_fields": [match.field for match in matches]}
    rows["properties"].append({**place, **values, **names})
    rows["matched"] += [
        {
            **place,
            "field": match.field,
            "sap": index.sap_of(match.field),
            "rule": match.rule,
            "property": item.name,
            "label": item.label,
        }
        for match in matches
    ]
