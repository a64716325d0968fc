"""SAP's knowledge in the graph: written twice it is the same, another version replaces it, other labels stay."""

from pathlib import Path
from typing import Any

import pytest

from sap_llm.graph.client import GraphClient
from sap_llm.sources.knowledge import SapKnowledgeConfig, build_sap_knowledge
from sap_llm.sources.knowledge_graph import LABELS, RELATIONSHIPS, write_knowledge_graph
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset, DatasetStore
from tests.unit.sources.test_edmx import V2, V4

pytestmark = pytest.mark.slow


def _dataset(home: Path, **files: str) -> Dataset:
    folder = home / "edmx"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.edmx").write_text(content)
    context = StageContext(store=DatasetStore(home / "store"))
    config = SapKnowledgeConfig(folder="edmx")
    return build_sap_knowledge(context, config=config, home=home, documents=None, cache=home / "cache").dataset


def _all(graph: GraphClient) -> list[list[dict[str, Any]]]:
    nodes = [graph.read(f"MATCH (n:{label}) RETURN properties(n) AS p ORDER BY n.id") for label in LABELS]
    edges = [
        graph.read(
            f"MATCH (a)-[r:{kind}]->(b) RETURN a.id AS a, b.id AS b, r.name AS name, r.multiplicity AS m "
            "ORDER BY a, b, name"
        )
        for kind in RELATIONSHIPS
    ]
    return nodes + edges


def test_writing_twice_changes_nothing_and_counts_are_those_of_the_tables(graph: GraphClient, tmp_path: Path) -> None:
    dataset = _dataset(tmp_path, v2=V2, v4=V4)
    first = write_knowledge_graph(graph, dataset, batch_size=3)
    before = _all(graph)
    assert write_knowledge_graph(graph, dataset, batch_size=1000) == first
    assert _all(graph) == before
    rows = dataset.manifest.rows
    assert first == {
        "SapService": rows["services"],
        "SapEntityType": rows["entity_types"],
        "SapProperty": rows["properties"],
        "SapValueList": rows["value_lists"],
        "HAS_ENTITY_TYPE": rows["entity_types"],
        "HAS_PROPERTY": rows["properties"],
        "NAVIGATES_TO": rows["navigation"] - 1,  # to_Nothing has no target
        "GIVEN_IN": 2,
        "EXPLAINED_BY": 1,
        "TAKES_VALUES_FROM": rows["value_lists"],
    }


def test_questions_that_agents_ask_are_answered(graph: GraphClient, tmp_path: Path) -> None:
    write_knowledge_graph(graph, _dataset(tmp_path, v2=V2, v4=V4))
    assert graph.read(
        "MATCH (:SapEntityType {entity_type: 'OrderType'})-[:HAS_PROPERTY]->(p:SapProperty)-[:GIVEN_IN]->(u) "
        "RETURN p.property AS amount, u.property AS unit"
    ) == [{"amount": "Amount", "unit": "Currency"}]
    assert graph.read("MATCH (p:SapProperty)-[:TAKES_VALUES_FROM]->(v) RETURN v.collection AS c ORDER BY c") == [
        {"c": "../f4/$metadata"},
        {"c": "Plants"},
    ]
    found = graph.read("MATCH (p:SapProperty) WHERE 'plant' IN p.taxonomy_fields RETURN p.id AS id")
    assert found == [{"id": "v4.edmx#Order/Plant"}]


def test_another_version_replaces_the_first_and_leaves_other_labels_alone(graph: GraphClient, tmp_path: Path) -> None:
    graph.write("CREATE (:Thing {id: 'mine'})-[:HAS_PROPERTY]->(:Thing {id: 'too'})")
    write_knowledge_graph(graph, _dataset(tmp_path / "one", v2=V2, v4=V4))
    changed = V2.replace('sap:unit="Currency"', "").replace("Nummer", "Number of the order")
    counts = write_knowledge_graph(graph, _dataset(tmp_path / "two", v2=changed))
    assert (counts["SapService"], counts["SapEntityType"], counts["SapValueList"]) == (1, 2, 0)
    assert (counts["GIVEN_IN"], counts["TAKES_VALUES_FROM"]) == (0, 0)
    assert graph.read("MATCH (p:SapProperty {property: 'Order'}) RETURN p.quickinfo AS q") == [
        {"q": "Number of the order"}
    ]
    assert graph.read("MATCH (:Thing)-[r:HAS_PROPERTY]->(:Thing) RETURN count(r) AS n") == [{"n": 1}]
