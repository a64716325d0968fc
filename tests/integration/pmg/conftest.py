"""Fixtures of the process memory tests: the same client over two engines."""

from tests.integration.servers.graphs import arcadedb_graph, graph, neo4j_graph

__all__ = ["arcadedb_graph", "graph", "neo4j_graph"]
