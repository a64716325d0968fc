"""The process memory graph (PMG): every processed document, and what models extracted and people corrected.

Its schema, ingest, feedback, counts, vectors and snapshots belong here. The connection to the graph is `graph`; what is
learnt from the memory is `learning`.
"""
