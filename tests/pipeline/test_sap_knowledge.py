"""The asset `sap_knowledge` under Dagster: what it says when there is nothing to read, and what a run shows."""

from pathlib import Path

import dagster as dg
import pytest

from sap_llm.deployment import Deployment
from sap_llm_dagster.local_run import plan_sources, run_job
from tests.support.metadata_site import document


def test_without_metadata_the_run_fails_with_a_sentence_and_no_retry(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    outcome = run_job(instance, "learn_sap", defs=defs, is_quiet=True)
    assert "no SAP metadata to read" in outcome.failure
    assert "SAP_LLM_DOCUMENTS" in outcome.failure
    assert house.store.names() == []


@pytest.mark.slow
def test_a_run_over_a_folder_of_documents_shows_numbers_and_fills_the_graph(
    defs: dg.Definitions,
    house: Deployment,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/a.edmx").write_bytes(document("A"))
    monkeypatch.setenv("SAP_LLM_DOCUMENTS", "documents")
    for is_reused in (False, True):
        outcome = run_job(instance, "learn_sap", defs=defs, is_quiet=True)
        assert outcome.failure == ""
        (made,) = outcome.assets
        assert made.is_reused is is_reused
        assert list(made.metadata)[:4] == ["services", "entity_types", "properties", "labelled_share"]
        assert made.metadata["dagster/row_count"] == 1
        assert "| currency | EKKO-WAERS |" in made.metadata["report_full"]
    with house.graph() as graph:
        assert graph.read("MATCH (:SapEntityType)-[:HAS_PROPERTY]->(p) RETURN p.property AS p") == [{"p": "EBELN"}]


def test_the_demo_asks_for_it_only_where_metadata_are(house: Deployment) -> None:
    from sap_llm.storage.partitions import PARTITIONS, PartitionsConfig

    partitions = house.config(PartitionsConfig, PARTITIONS)
    assert "learn_sap" not in {run.job for run in plan_sources(partitions, corpora=["sroie"], months=["2025-01"])}
    assert plan_sources(partitions, has_sap_metadata=True)[0].job == "learn_sap"
