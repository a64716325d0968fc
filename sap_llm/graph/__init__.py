"""The property graph: one Bolt client for every engine, and the process of the local engine.

Speaking Cypher over Bolt and owning the local engine's process belong here. What is stored in the graph does not: the
process memory is `pmg`, the graph part of an export is `sources`.
"""
