"""Dagster shells around `sap_llm.deployment`: clients, run configuration, lineage, what the UI is shown.

Belongs here: everything Dagster-shaped that several assets need. What an asset is does not (`assets`), nor how a client
is built (`sap_llm.deployment`). Nothing connects at import.
"""
