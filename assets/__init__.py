"""The lineage: one module per stage, each asset one sentence that calls one function of the domain.

Belongs here: what exists, what it is made from, what the UI is told. How it is made is the stage's room in `sap_llm`;
owners, code versions, groups and partitions of the profile are added over all specs by `sap_llm_dagster`. Assets never
import assets: they depend by key.
"""
