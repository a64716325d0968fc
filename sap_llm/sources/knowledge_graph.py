"""The dataset `sap_knowledge` as a graph of its own labels, beside the process memory and QorSync's patterns.

Belongs here: labels, relationships, constraints and writing. The connection is `graph.client`; the tables are
`knowledge_tables`.

The graph mirrors one dataset version: nodes and relationships carry its data version, and what an older one left behind
is removed at the end. So writing twice changes nothing, and a killed write is completed by the next.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sap_llm.graph.client import GraphClient
from sap_llm.sources.knowledge_tables import entity_id
from sap_llm.storage.build import Progress, silent
from sap_llm.storage.store import Dataset

SERVICE, ENTITY_TYPE, PROPERTY, VALUE_LIST = "SapService", "SapEntityType", "SapProperty", "SapValueList"
LABELS = (SERVICE, ENTITY_TYPE, PROPERTY, VALUE_LIST)
"""Every label of this graph; each node has exactly one, and a unique `id`."""

RELATIONSHIPS: Mapping[str, tuple[str, str]] = {
    "HAS_ENTITY_TYPE": (SERVICE, ENTITY_TYPE),
    "HAS_PROPERTY": (ENTITY_TYPE, PROPERTY),
    "NAVIGATES_TO": (ENTITY_TYPE, ENTITY_TYPE),
    "GIVEN_IN": (PROPERTY, PROPERTY),  # amount -> currency, quantity -> unit
    "EXPLAINED_BY": (PROPERTY, PROPERTY),  # code -> readable text
    "TAKES_VALUES_FROM": (PROPERTY, VALUE_LIST),
}
"""Relationship type -> labels of its start and its end."""

Row = dict[str, Any]
_CHUNK = 1000


def write_knowledge_graph(
    graph: GraphClient, dataset: Dataset, *, batch_size: int = 1000, progress: Progress = silent
) -> dict[str, int]:
    """Make the graph show `dataset` and nothing else; safe to repeat.

    Args:
        graph: Stays open.
        dataset: A version of `sap_knowledge`.
        batch_size: Rows a transaction.
        progress: Told after each label and relationship.

    Returns:
        Nodes by label and relationships by type, as the graph now has them.

    Raises:
        SourceError: The graph cannot be reached.
    """
    for label in LABELS:
        graph.schema(f"CREATE CONSTRAINT {label.lower()}_id IF NOT EXISTS FOR (n:{label}) REQUIRE n.id IS UNIQUE")
    version = dataset.manifest.data_version
    for label, table, node in _NODES:
        query = f"UNWIND $rows AS row MERGE (n:{label} {{id: row.id}}) SET n += row, n.dataset = $dataset"
        rows = (node(row) for row in _rows(dataset, table))
        count = graph.write_rows(query, rows, batch_size=batch_size, dataset=version)
        progress(f"{count} {label} in the graph")
    for kind, table, edges in _EDGES:
        start, end = RELATIONSHIPS[kind]
        query = (
            f"UNWIND $rows AS row MATCH (a:{start} {{id: row.start}}) MATCH (b:{end} {{id: row.end}}) "
            f"MERGE (a)-[r:{kind} {{name: row.name}}]->(b) SET r.multiplicity = row.multiplicity, r.dataset = $dataset"
        )
        rows = (edge for row in _rows(dataset, table) for edge in edges(row))
        graph.write_rows(query, rows, batch_size=batch_size, dataset=version)
    _retire(graph, version)
    return _counts(graph)


def _rows(dataset: Dataset, table: str) -> Iterator[Row]:
    for batch in dataset.batches(table):
        yield from batch.to_pylist()


def _entity(row: Row) -> str:
    return entity_id(row["service"], row["entity_type"])


def _property(row: Row, name: str | None = None) -> str:
    return f"{_entity(row)}/{name or row['property']}"


def _value_list(row: Row) -> str:
    return f"{_property(row)}={row['collection']}"


def _edge(start: str, end: str, *, name: str = "", multiplicity: str = "") -> Row:
    return {"start": start, "end": end, "name": name, "multiplicity": multiplicity}


def _to_other(column: str) -> Callable[[Row], Iterator[Row]]:
    """From a property to the sibling that one of its columns names; fixed codes and paths elsewhere lead nowhere."""

    def edges(row: Row) -> Iterator[Row]:
        if row[column]:
            yield _edge(_property(row), _property(row, row[column]))

    return edges


_NODES: tuple[tuple[str, str, Callable[[Row], Row]], ...] = (
    (SERVICE, "services", lambda row: {"id": row["service"], **row}),
    (ENTITY_TYPE, "entity_types", lambda row: {"id": _entity(row), **row}),
    (PROPERTY, "properties", lambda row: {"id": _property(row), **row}),
    (VALUE_LIST, "value_lists", lambda row: {"id": _value_list(row), **row}),
)
_EDGES: tuple[tuple[str, str, Callable[[Row], Iterator[Row]]], ...] = (
    ("HAS_ENTITY_TYPE", "entity_types", lambda row: iter([_edge(row["service"], _entity(row))])),
    ("HAS_PROPERTY", "properties", lambda row: iter([_edge(_entity(row), _property(row))])),
    (
        "NAVIGATES_TO",
        "navigation",
        lambda row: iter(
            [
                _edge(
                    _entity(row),
                    entity_id(row["service"], row["target"]),
                    name=row["navigation"],
                    multiplicity=row["multiplicity"],
                )
            ]
        ),
    ),
    ("GIVEN_IN", "properties", _to_other("unit")),
    ("EXPLAINED_BY", "properties", _to_other("text")),
    ("TAKES_VALUES_FROM", "value_lists", lambda row: iter([_edge(_property(row), _value_list(row))])),
)


def _retire(graph: GraphClient, version: str) -> None:
    """Remove what other versions left, relationships first, in transactions of bounded size."""
    for kind, (start, end) in RELATIONSHIPS.items():
        old = f"MATCH (:{start})-[r:{kind}]->(:{end}) WHERE r.dataset <> $dataset"
        while graph.read(f"{old} RETURN count(r) AS n", dataset=version)[0]["n"]:
            graph.write(f"{old} WITH r LIMIT {_CHUNK} DELETE r", dataset=version)
    for label in LABELS:
        old = f"MATCH (n:{label}) WHERE n.dataset <> $dataset"
        while graph.read(f"{old} RETURN count(n) AS n", dataset=version)[0]["n"]:
            graph.write(f"{old} WITH n LIMIT {_CHUNK} DETACH DELETE n", dataset=version)


def _counts(graph: GraphClient) -> dict[str, int]:
    nodes = {label: graph.read(f"MATCH (n:{label}) RETURN count(n) AS n")[0]["n"] for label in LABELS}
    edges = {
        kind: graph.read(f"MATCH (:{start})-[r:{kind}]->(:{end}) RETURN count(r) AS n")[0]["n"]
        for kind, (start, end) in RELATIONSHIPS.items()
    }
    return {**nodes, **edges}
