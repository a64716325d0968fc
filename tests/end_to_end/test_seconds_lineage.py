"""The seconds profile from sources to memory in one process, twice: everything is built once and then reused."""

import json
from pathlib import Path

import pytest

from sap_llm.modeling.released_model import newest_released
from sap_llm.registry.gates import SUITE
from tests.support.demo_process import Home

BUILT_ONCE = {
    "business_facts",
    "synthetic_docs",
    "raw_exports",
    "annotated_docs",
    "annotation_tasks",
    "corpus_release",
    "training_set",
    "multitask_model",
    "doc_router",
    "domain_tokens",
    "domain_model",
    "instruction_pairs",
    "instructed_model",
    "stage_adapters",
    "model_evaluation",
    "base_comparison",
    "quantized_models",
    "registered_model",
    "pmg_snapshot",
    "preference_pairs",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(folder=tmp_path_factory.mktemp("seconds"), profile="seconds")


@pytest.fixture(scope="module")
def first_output(home: Home) -> str:
    done = home.demo(timeout=800)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_first_demo_builds_every_asset_and_reports_it(home: Home, first_output: str) -> None:
    built = {line.split()[1] for line in first_output.splitlines() if line.startswith("✓") and "built in" in line}
    assert built == BUILT_ONCE

    report = home.report()
    assert {"class_accuracy", "field_f1", "field_f1_baseline", "seconds"} <= set(report)
    assert report["documents"]["synthetic"] >= 50
    assert report["documents"]["qorsync"] > 10
    assert report["quarantined"] >= 5  # the faults that seeding plants
    assert report["pmg"]["documents"] == report["pmg"]["extractions"] == report["pmg"]["vectors"] > 0
    assert report["latency"]["latency_p50_ms"] > 0


def test_second_demo_reuses_all(home: Home, first_output: str) -> None:
    before = home.report()

    again = home.demo(timeout=400)

    assert again.returncode == 0, again.stdout[-4000:] + again.stderr[-4000:]
    said = [line for line in again.stdout.splitlines() if line.startswith("✓")]
    assert said
    assert all(line.endswith("reused, up to date") for line in said)
    after = home.report()
    unchanged = ("release", "documents", "class_accuracy", "field_f1", "model_version", "pmg")
    assert {key: after[key] for key in unchanged} == {key: before[key] for key in unchanged}


def test_status_names_every_dataset_and_the_missing_champion(home: Home, first_output: str) -> None:
    done = home.sap_llm("status")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in BUILT_ONCE)
    assert "champion: none yet" in done.stdout  # seconds of training beat no baseline


def test_gates_of_the_release_are_shown(home: Home, first_output: str) -> None:
    done = home.sap_llm("gate", "show")
    assert done.returncode == 0, done.stderr
    assert all(group in done.stdout for group in SUITE)
    assert "not judged" not in done.stdout


def test_extract_without_champion_reads_with_the_released_model(home: Home, tmp_path: Path) -> None:
    document = tmp_path / "invoice.txt"
    document.write_text("INVOICE\n\nInvoice number: 4711\nInvoice date: 12.05.2024\n\nTotal EUR 119.00")
    done = home.sap_llm("extract", str(document), "--json")
    assert done.returncode == 0, done.stderr
    form = json.loads(done.stdout)
    assert form["metadata"]["model_version"] == newest_released()
    assert "4711" in {field["value"] for field in form["pages"][0]["fields"]}


def test_build_through_the_command_line_reuses_what_dagster_built(home: Home, first_output: str) -> None:
    release = home.report()["release"]
    done = home.sap_llm("build", "training-set", "--release", release)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"training_set/{release} reused" in done.stdout


def test_demo_refuses_a_folder_that_is_not_there(home: Home) -> None:
    done = home.demo("--documents", "/nowhere/at/all", timeout=60)
    assert done.returncode == 1
    assert "no such folder" in done.stdout
