"""The asset `public_docs` under Dagster: the card with its picture on the asset page, filters from the launchpad."""

import json
from pathlib import Path

import dagster as dg
import pytest

from sap_llm.deployment import Deployment
from sap_llm_dagster.local_run import run_job


def _receipts(folder: Path) -> None:
    for part in ("box", "key"):
        (folder / part).mkdir(parents=True)
    for index in range(3):
        (folder / "box" / f"{index}.csv").write_text(f"0,0,200,0,200,10,0,10,SHOP SDN BHD TOTAL RM {index}.50\n")
        key = {"company": "SHOP SDN BHD", "date": "", "address": "", "total": f"{index}.50"}
        (folder / "key" / f"{index}.json").write_text(json.dumps(key))


@pytest.mark.slow
def test_a_run_shows_the_card_and_obeys_the_filters(
    defs: dg.Definitions,
    house: Deployment,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _receipts(tmp_path / "documents" / "sroie")
    monkeypatch.setenv("SAP_LLM_DOCUMENTS", "documents")
    outcome = run_job(instance, "read_corpora", "sroie", defs=defs, is_quiet=True)
    assert outcome.failure == ""
    (made,) = outcome.assets
    assert list(made.metadata)[:3] == ["documents", "quarantined", "alignment_rate"]
    assert "Licence: **CC-BY-4.0**" in made.metadata["report_full"]
    assert "![pages](data:image/png;base64," in made.metadata["report_full"]
    stricter = {"public_docs": {"filters.min_characters": 1000}}
    refused = run_job(instance, "read_corpora", "sroie", defs=defs, is_quiet=True, overrides=stricter)
    (made,) = refused.assets
    assert (made.metadata["documents"], made.metadata["quarantined"]) == (0, 3)
    assert "| short_text | 3 |" in made.metadata["report_full"]
