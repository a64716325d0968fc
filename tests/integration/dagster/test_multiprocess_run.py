"""A job as `dg launch` runs it: own process, multiprocess executor, persistent instance; the second time reuses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from resources.stage_run import DATASET_REF
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import DatasetStore
from sap_llm_dagster.home import prepare_home

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[3]
SEEDS = "0000-0005"


def _launch(home: Path) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(binaries.parent),
        "SAP_LLM_HOME": str(home),
        "SAP_LLM_PROFILE": "seconds",
        "DAGSTER_HOME": str(home / "dagster"),
    }
    return subprocess.run(
        [str(binaries / "dg"), "launch", "--job", "make_synthetic", "--partition", SEEDS],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_launched_job_runs_each_step_in_a_process_and_is_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    prepare_home()

    first = _launch(tmp_path)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    second = _launch(tmp_path)
    assert second.returncode == 0, second.stdout[-3000:] + second.stderr[-3000:]

    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        records = instance.fetch_materializations(dg.AssetKey("synthetic_docs"), limit=2).records
        step_processes = {
            match
            for entry in instance.all_logs(runs[-1].run_id)
            for match in re.findall(r'Executing step "(\w+)" in subprocess', entry.message + str(entry.dagster_event))
        }
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
    assert step_processes == {"business_facts", "synthetic_docs"}
    newest, oldest = (record.asset_materialization for record in records)
    assert newest is not None
    assert oldest is not None
    assert (oldest.metadata["reused"].value, newest.metadata["reused"].value) == (False, True)
    assert newest.tags is not None
    store = DatasetStore(tmp_path / "data/local/datasets")
    manifest = store.open(DatasetRef.parse(str(newest.metadata[DATASET_REF].value))).manifest
    assert newest.tags["dagster/data_version"] == manifest.data_version
