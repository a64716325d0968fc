"""One Cypher, two engines: what the rooms may rely on, checked on the local engine and on real Neo4j."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from neo4j.exceptions import ConstraintError, Neo4jError

from sap_llm.graph.client import GraphClient

pytestmark = pytest.mark.slow

UNIQUE = "CREATE CONSTRAINT thing_id IF NOT EXISTS FOR (t:Thing) REQUIRE t.id IS UNIQUE"
MERGE_ROWS = "UNWIND $rows AS row MERGE (t:Thing {id: row.id}) ON CREATE SET t += row.properties"


def test_constraints_and_indexes_are_created_once(graph: GraphClient) -> None:
    for _ in range(2):
        graph.schema(UNIQUE)
        graph.schema("CREATE INDEX thing_kind IF NOT EXISTS FOR (t:Thing) ON (t.kind, t.rank)")
    assert graph.read("SHOW CONSTRAINTS")


def test_unique_constraint_refuses_a_second_node(graph: GraphClient) -> None:
    graph.schema(UNIQUE)
    graph.write("CREATE (:Thing {id: 'a'})")
    with pytest.raises(ConstraintError):
        graph.write("CREATE (:Thing {id: 'a'})")
    assert graph.read("MATCH (t:Thing) RETURN count(t) AS n") == [{"n": 1}]


def test_merge_in_batches_is_idempotent(graph: GraphClient) -> None:
    graph.schema(UNIQUE)
    rows = [{"id": f"t{number}", "properties": {"rank": number}} for number in range(2500)]
    assert graph.write_rows(MERGE_ROWS, rows) == 2500
    graph.write_rows(MERGE_ROWS, [row | {"properties": {"rank": -1}} for row in rows], batch_size=700)
    assert graph.read("MATCH (t:Thing) RETURN count(t) AS n, min(t.rank) AS low, max(t.rank) AS high") == [
        {"n": 2500, "low": 0, "high": 2499}
    ]


def test_merge_finds_what_the_same_batch_created(graph: GraphClient) -> None:
    graph.schema(UNIQUE)
    rows = [{"id": f"t{number % 3}", "properties": {"rank": number}} for number in range(30)]
    graph.write_rows(MERGE_ROWS, rows)
    assert graph.read("MATCH (t:Thing) RETURN t.id AS id, t.rank AS rank ORDER BY id") == [
        {"id": "t0", "rank": 0},
        {"id": "t1", "rank": 1},
        {"id": "t2", "rank": 2},
    ]


def test_nodes_and_relationships_in_one_statement(graph: GraphClient) -> None:
    graph.schema(UNIQUE)
    query = (
        "UNWIND $rows AS row MERGE (a:Thing {id: row.a}) MERGE (b:Thing {id: row.b}) "
        "MERGE (a)-[r:LEADS_TO]->(b) ON CREATE SET r.weight = row.weight"
    )
    rows = [{"a": f"n{number}", "b": f"n{number + 1}", "weight": number} for number in range(10)]
    for _ in range(2):
        graph.write_rows(query, rows, batch_size=4)
    assert graph.read("MATCH ()-[r:LEADS_TO]->() RETURN count(r) AS n, sum(r.weight) AS w") == [{"n": 10, "w": 45}]
    reached = graph.read("MATCH (:Thing {id: 'n0'})-[:LEADS_TO*1..4]->(t) RETURN t.id AS id ORDER BY id")
    assert [row["id"] for row in reached] == ["n1", "n2", "n3", "n4"]
    kinds = graph.read("MATCH (a)-[r]->() RETURN DISTINCT type(r) AS kind, labels(a) AS labels")
    assert kinds == [{"kind": "LEADS_TO", "labels": ["Thing"]}]


def test_values_come_back_as_they_went_in(graph: GraphClient) -> None:
    values = {
        "text": "Müller & Söhne – 株式会社 \N{GRINNING FACE} 'quoted' \"twice\" \\ \n",
        "long": "x" * 100_000,
        "whole": 2**53 + 1,
        "negative": -(2**62),
        "real": 0.1,
        "yes": True,
        "words": ["a", "b", ""],
        "when": datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC),
    }
    graph.write("CREATE (t:Thing {id: 'v'}) SET t += $values", values=values)
    assert graph.read("MATCH (t:Thing {id: 'v'}) RETURN properties(t) AS p") == [{"p": values | {"id": "v"}}]
    assert graph.read("MATCH (t:Thing {id: 'v'}) RETURN t") == [{"t": values | {"id": "v"}}]


def test_null_properties_are_absent(graph: GraphClient) -> None:
    graph.write("CREATE (t:Thing {id: 'v'}) SET t += $values", values={"a": None, "b": 1})
    found = graph.read("MATCH (t:Thing) RETURN t.a AS a, t.b AS b, t.c IS NULL AS c, coalesce(t.a, 'none') AS d")
    assert found == [{"a": None, "b": 1, "c": True, "d": "none"}]


def test_a_failing_batch_leaves_nothing_behind(graph: GraphClient) -> None:
    graph.schema(UNIQUE)
    rows = [{"id": "x", "properties": {}}, {"id": "y", "properties": {}}, {"id": "x", "properties": {}}]
    with pytest.raises(Neo4jError):
        graph.write_rows("UNWIND $rows AS row CREATE (:Thing {id: row.id})", rows)
    assert graph.read("MATCH (t:Thing) RETURN count(t) AS n") == [{"n": 0}]


def test_optional_match_counts_distinct_and_groups(graph: GraphClient) -> None:
    graph.write(
        "UNWIND range(0, 9) AS i CREATE (d:Thing {id: toString(i), kind: CASE WHEN i < 6 THEN 'A' ELSE 'B' END}) "
        "FOREACH (j IN range(1, i % 3) | CREATE (d)-[:HAS]->(:Note {good: j = 1}))"
    )
    rows = graph.read(
        "MATCH (d:Thing) OPTIONAL MATCH (d)-[:HAS]->(n:Note) "
        "RETURN d.kind AS kind, count(DISTINCT d) AS things, count(n) AS notes, "
        "count(DISTINCT CASE WHEN n.good THEN d.id END) AS good ORDER BY kind"
    )
    assert rows == [
        {"kind": "A", "things": 6, "notes": 6, "good": 4},
        {"kind": "B", "things": 4, "notes": 3, "good": 2},
    ]


def test_paging_by_key_visits_every_node_once(graph: GraphClient) -> None:
    graph.write("UNWIND range(1, 25) AS i CREATE (:Thing {id: toString(i), rank: i % 5})")
    seen: list[tuple[int, str]] = []
    cursor: tuple[int, str] = (-1, "")
    while page := graph.read(
        "MATCH (t:Thing) WHERE t.rank > $rank OR (t.rank = $rank AND t.id > $id) "
        "RETURN t.rank AS rank, t.id AS id ORDER BY rank, id LIMIT 4",
        rank=cursor[0],
        id=cursor[1],
    ):
        seen += [(row["rank"], row["id"]) for row in page]
        cursor = seen[-1]
    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen)


def test_subqueries_lists_and_aggregates(graph: GraphClient) -> None:
    graph.write("UNWIND range(1, 9) AS i CREATE (:Thing {id: toString(i), rank: i})-[:HAS]->(:Note {rank: i * 10})")
    assert graph.read(
        "MATCH (t:Thing) WHERE t.id IN $ids CALL { WITH t MATCH (t)-[:HAS]->(n) RETURN max(n.rank) AS top } "
        "RETURN t.id AS id, top ORDER BY id",
        ids=["2", "5", "none"],
    ) == [{"id": "2", "top": 20}, {"id": "5", "top": 50}]
    found = graph.read(
        "MATCH (t:Thing) WITH t ORDER BY t.rank "
        "RETURN percentileCont(t.rank, 0.5) AS median, collect(t.rank)[..3] AS first, avg(t.rank) AS mean"
    )
    assert found == [{"median": 5.0, "first": [1, 2, 3], "mean": 5.0}]
    assert graph.read("MATCH (t:Thing) WHERE NOT (t)-[:HAS]->() RETURN count(t) AS n") == [{"n": 0}]
    assert graph.read("MATCH (t:Thing) WHERE EXISTS { (t)-[:HAS]->(:Note) } RETURN count(t) AS n") == [{"n": 9}]


def test_times_compare_as_moments_and_keep_microseconds(graph: GraphClient) -> None:
    now = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    for number in range(4):
        graph.write("CREATE (:Thing {id: $id, at: $at})", id=str(number), at=now + timedelta(microseconds=number))
    later = graph.read(
        "MATCH (t:Thing) WHERE t.at > $moment RETURN t.id AS id, t.at AS at ORDER BY t.at DESC",
        moment=now + timedelta(microseconds=1),
    )
    assert later == [{"id": str(number), "at": now + timedelta(microseconds=number)} for number in (3, 2)]


def test_unknown_labels_and_types_match_nothing(graph: GraphClient) -> None:
    assert graph.read("MATCH (n:NeverSeen)-[:NEVER]->(m) RETURN n.x AS x, m") == []
    assert graph.read("MATCH (n:NeverSeen) RETURN count(n) AS n") == [{"n": 0}]


def test_concurrent_increments_are_all_counted(graph: GraphClient) -> None:
    graph.schema(UNIQUE)
    graph.write("CREATE (:Thing {id: 'counter', rank: 0})")

    def work(_: int) -> None:
        for _ in range(20):
            graph.write("MATCH (t:Thing {id: 'counter'}) SET t.rank = t.rank + 1")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert graph.read("MATCH (t:Thing) RETURN t.rank AS rank") == [{"rank": 60}]


def test_concurrent_merges_make_one_node(graph: GraphClient) -> None:
    graph.schema(UNIQUE)

    def work(_: int) -> None:
        for number in range(50):
            graph.write("MERGE (t:Thing {id: $id}) ON CREATE SET t.rank = 1", id=f"same{number}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert graph.read("MATCH (t:Thing) RETURN count(t) AS n") == [{"n": 50}]
