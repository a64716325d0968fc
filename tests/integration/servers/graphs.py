"""The `graph` fixture: every test that uses it runs on the local engine and on a real Neo4j.

Import it in a `conftest.py`. Each test starts with an empty graph; the servers live for the session.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sap_llm.graph.client import GraphClient
from sap_llm.graph.local_engine import open_local_graph
from tests.integration.servers.neo4j import neo4j_server


@pytest.fixture(scope="session")
def arcadedb_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphClient]:
    folder: Path = tmp_path_factory.mktemp("arcadedb")
    with open_local_graph(folder, idle_seconds=5) as client:
        yield client


@pytest.fixture(scope="session")
def neo4j_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphClient]:
    with neo4j_server(tmp_path_factory.mktemp("neo4j")) as uri, GraphClient(uri) as client:
        client.retry_seconds = 60.0  # the port opens a little before the database
        yield client


@pytest.fixture(params=["arcadedb", "neo4j"])
def graph(request: pytest.FixtureRequest) -> GraphClient:
    client: GraphClient = request.getfixturevalue(f"{request.param}_graph")
    client.write("MATCH (n) DETACH DELETE n")
    return client
