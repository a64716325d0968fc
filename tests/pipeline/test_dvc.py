"""The second front door: `dvc.yaml` names what exists, and committing from Dagster leaves nothing to reproduce."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from typer.main import get_command

from sap_llm.cli.build import commands
from sap_llm.storage.dvc_writer import only_writer
from sap_llm.storage.store import DatasetStore
from sap_llm_dagster.local_run import run_job
from tests.support.versioned import documents, labelled

REPOSITORY = Path(__file__).parents[2]
DVC = Path(sys.executable).with_name("dvc")
PROFILES = ("seconds", "tiny", "gpu", "cluster")


def _stages() -> dict[str, Any]:
    return dict(yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def test_there_are_five_stages_and_each_is_a_command_of_ours() -> None:
    known = set(getattr(get_command(commands), "commands", {}))
    for name, stage in _stages().items():
        verb = str(stage["cmd"]).split("build ")[1].split()[0]
        assert verb in known
        assert verb == name.replace("_", "-")
    assert list(_stages()) == ["corpus", "training_set", "model", "evaluation", "quantized"]


@pytest.mark.parametrize("profile", PROFILES)
def test_parameters_and_code_that_stages_depend_on_exist(profile: str) -> None:
    for stage in _stages().values():
        for entry in stage["params"]:
            (path,) = entry if isinstance(entry, dict) else (entry,)
            assert (REPOSITORY / path.replace("${profile}", profile)).is_file(), path
        for path in stage["deps"]:
            assert "${datasets}" in str(path) or (REPOSITORY / str(path)).exists(), path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC checkout of two stages whose outputs somebody else has made."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
    stages = {
        "first": {"cmd": "false", "outs": ["made"]},
        "second": {"cmd": "false", "deps": ["made"], "outs": ["more"]},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for name in ("made", "more"):
        (tmp_path / name).write_text(name)
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    return tmp_path


def test_committing_runs_nothing_and_leaves_nothing_to_do(
    checkout: Path, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    outcome = run_job(instance, "commit_to_dvc", defs=defs, is_quiet=True)
    assert outcome.is_success, outcome.failure
    status = subprocess.run([DVC, "status"], cwd=checkout, capture_output=True, text=True, check=True)
    assert "up to date" in status.stdout


def test_a_folder_that_is_no_checkout_is_left_alone(
    house: object, defs: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert run_job(instance, "commit_to_dvc", defs=defs, is_quiet=True).is_success
    assert not (tmp_path / "dvc.lock").exists()


def test_a_stage_that_was_not_built_is_left_for_later(
    checkout: Path, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    (checkout / "more").unlink()
    assert run_job(instance, "commit_to_dvc", defs=defs, is_quiet=True).is_success
    locked = yaml.safe_load((checkout / "dvc.lock").read_text(encoding="utf-8"))
    assert list(locked["stages"]) == ["first"]


def test_every_complete_version_is_tracked_once(
    checkout: Path, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    store = DatasetStore(checkout / "data/local/datasets")
    ref = labelled(store, documents(3)).ref
    for _ in range(2):
        assert run_job(instance, "commit_to_dvc", defs=defs, is_quiet=True).is_success
    assert (checkout / f"versions/training_set/r1/{ref.version}.dvc").is_file()
    status = subprocess.run([DVC, "status"], cwd=checkout, capture_output=True, text=True, check=True)
    assert "up to date" in status.stdout


def test_what_dvc_refuses_fails_the_run_with_its_words(
    checkout: Path, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    (checkout / ".dvc/config").write_text("[core]\n    no_such_option = true\n    no_scm = true\n")
    labelled(DatasetStore(checkout / "data/local/datasets"), documents(3))
    outcome = run_job(instance, "commit_to_dvc", defs=defs, is_quiet=True)
    assert "dvc add failed" in outcome.failure
    assert "no_such_option" in outcome.failure


def test_a_commit_waits_for_the_command_line_that_holds_the_lock(
    checkout: Path, defs: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.dvc._WAIT_SECONDS", 0.1)
    with only_writer(checkout, "a push of the command line"):
        outcome = run_job(instance, "commit_to_dvc", defs=defs, is_quiet=True)
    assert "a push of the command line" in outcome.failure
