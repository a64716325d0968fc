"""`sap-llm data` as a user calls it, without DVC: history, difference, checkout, export, retention."""

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from sap_llm.cli import data
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError, DamagedDatasetError, DatasetNotFoundError, SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import DatasetStore
from tests.support.versioned import documents, labelled, small


def call(*arguments: object) -> Result:
    app = typer.Typer()
    data.register(app)
    result = CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "250"})
    if isinstance(result.exception, SapLlmError):
        raise result.exception
    return result


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")
    monkeypatch.setattr(data.console, "width", 250)
    monkeypatch.setattr(data.retention.console, "width", 250)
    return Deployment.load().store


@pytest.fixture
def two(store: DatasetStore) -> tuple[DatasetRef, DatasetRef]:
    before = documents(30)
    after = [one.but(fields={"total_amount": "1.00"}) if one.number == 7 else one for one in before[1:]]
    return labelled(store, before).ref, labelled(store, after, day=1, threshold=0.6).ref


def test_log_shows_the_newest_first_with_what_changed(two: tuple[DatasetRef, DatasetRef]) -> None:
    old, new = two
    output = call("log", "training_set/r1").stdout
    assert output.index(new.version) < output.index(old.version)
    line = next(line for line in output.splitlines() if new.version in line)
    for part in ("2026-01-02 00:00", "tester", "documents 29", "current", "documents 30 -> 29"):
        assert part in line
    entries = json.loads(call("log", "training_set/r1", "--json").stdout)
    assert [entry["manifest"]["version"] for entry in entries] == [new.version, old.version]
    assert [entry["is_current"] for entry in entries] == [True, False]
    with pytest.raises(DatasetNotFoundError, match="no version of training_set/r9"):
        call("log", "training_set/r9")


def test_diff_says_counts_first_then_examples_and_exits_like_diff(two: tuple[DatasetRef, DatasetRef]) -> None:
    old, new = two
    result = call("diff", "training_set/r1", old.version[:8], new.version[:8])
    assert result.exit_code == 1
    for part in ("the data differ", "1 of 29 documents differ", "doc-000007: 119.00 -> 1.00", "threshold", "currency"):
        assert part in result.stdout
    assert result.stdout.index("rows before") < result.stdout.index("for example doc-000000")
    assert call("diff", f"training_set/r1@{old.version}", "training_set/r1").exit_code == 1
    assert call("diff", "training_set/r1", new).exit_code == 0
    assert call("diff", "training_set/r1", "ffff", "0000").exit_code == 2
    found = json.loads(call("diff", old, new, "--json").stdout)
    assert found["tables"]["documents"]["removed"] == 1
    assert found["labels"]["documents_relabelled"] == 1


def test_a_prefix_must_be_clear(store: DatasetStore) -> None:
    versions = [small(store, "a", day=day, mark=str(day)).version for day in range(17)]  # 17 hexadecimal names
    first = [version[0] for version in versions]
    twice = next(letter for letter in first if first.count(letter) > 1)
    with pytest.raises(ConfigurationError, match=f"fits {first.count(twice)} versions of a"):
        call("checkout", f"a@{twice}")


def test_checkout_brings_an_old_version_back_and_refuses_a_damaged_one(
    store: DatasetStore, two: tuple[DatasetRef, DatasetRef]
) -> None:
    old, new = two
    result = call("checkout", f"training_set/r1@{old.version[:8]}")
    assert store.open(old).manifest.data_version in result.stdout
    assert store.current("training_set/r1") == old
    (Path(store.prefix(new)) / "report.md").write_text("changed")
    with pytest.raises(DamagedDatasetError, match=r"report\.md has other bytes"):
        call("checkout", new)
    assert store.current("training_set/r1") == old


def test_export_writes_a_whole_new_folder_and_changes_nothing_else(
    store: DatasetStore, two: tuple[DatasetRef, DatasetRef], tmp_path: Path
) -> None:
    old, new = two
    call("checkout", old, "--to", tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {*store.open(old).manifest.files, "manifest.json"}
    assert store.current("training_set/r1") == new
    with pytest.raises(ConfigurationError, match="exists already"):
        call("checkout", old, "--to", tmp_path / "copy")


def test_retention_is_a_dry_run_until_somebody_says_yes(
    store: DatasetStore, two: tuple[DatasetRef, DatasetRef]
) -> None:
    old, new = small(store, "a"), small(store, "a", day=1, mark="new")
    planned = call("retention", "plan").stdout
    assert "delete" in next(line for line in planned.splitlines() if str(old) in line)
    assert "current" in next(line for line in planned.splitlines() if str(new) in line)
    assert "not judged" in next(line for line in planned.splitlines() if str(two[0]) in line)
    with pytest.raises(ConfigurationError, match="nothing was deleted"):
        call("retention", "apply")
    assert store.find(old) is not None
    assert "done" in call("retention", "apply", "--yes").stdout
    assert store.find(old) is None
    assert "deleted, bytes still here" in call("log", "a").stdout
    call("checkout", old)  # its bytes are still here
    assert store.current("a") == old
    decisions = json.loads(call("retention", "plan", "--json").stdout)["decisions"]
    assert {one["action"] for one in decisions} == {"keep"}


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_misspelt_name_is_refused_before_anything_is_done(two: object, verb: str) -> None:
    with pytest.raises(DatasetNotFoundError, match="no version of training_sets"):
        call(verb, "training_sets")


def test_pushing_where_dvc_was_not_set_up_says_how_to(store: DatasetStore, two: object) -> None:
    with pytest.raises(SapLlmError, match="dvc init"):
        call("push")
