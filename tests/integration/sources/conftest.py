"""Fixtures of the source tests: the same graph client over two engines."""

from tests.integration.servers.graphs import arcadedb_graph, graph, neo4j_graph

__all__ = ["arcadedb_graph", "graph", "neo4j_graph"]
