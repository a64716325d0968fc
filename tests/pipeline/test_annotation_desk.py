"""People's work under Dagster: tasks go to the desk, answers come back by themselves, closed batches are held back."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.deployment import Deployment
from sap_llm.schema.annotation import TASKS
from sap_llm.schema.tables import conform
from sap_llm.storage.build import StageConfig, build
from sap_llm.storage.store import Dataset, DatasetWriter
from sap_llm_dagster.local_run import RunOutcome, run_job
from sensors.annotation import answers_sensor
from tests.support.dagster_records import record_materialisation, record_verdicts
from tests.support.typeset_corpus import typeset_corpus

RELEASE = "r1"


@pytest.fixture
def asked(house: Deployment, instance: dg.DagsterInstance) -> Dataset:
    """Annotated documents and a choice of two of them, both on Dagster's record."""
    corpus = typeset_corpus(house.context(), documents=3).ref
    annotated = build_annotated_docs(
        house.context(), config=AnnotatedDocsConfig(), corpora={corpus.name: corpus}, release=RELEASE
    )
    ids = sorted(annotated.dataset.table("documents").column("document_id").to_pylist())
    about = {"input": corpus.name, "queue": "annotators", "purpose": "flagged", "annotators": 1, "priority": 1.0}

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        writer.write_table("tasks", conform([about | {"document_id": one} for one in ids[:2]], TASKS), TASKS)
        return {}

    tasks = build(
        house.context(),
        name=f"annotation_tasks/{RELEASE}",
        stage_version="1",
        config=StageConfig(),
        inputs={annotated.ref.name: annotated.ref},
        produce=produce,
    ).dataset
    record_materialisation(instance, tasks)
    return tasks


def folder(house: Deployment) -> Path:
    return house.home / house.settings.annotation / RELEASE / "annotators"


def hand_in(house: Deployment, number: int, who: str) -> None:
    task = sorted((folder(house) / "tasks").glob("*.json"))[number]
    content = json.loads(task.read_text())
    content["metadata"]["annotator_id"] = who
    (folder(house) / "answers" / f"{number}-{who}.json").write_text(json.dumps(content))


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    resources = {"deployment": defs.resources["deployment"]} if defs.resources else {}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        ticked = answers_sensor(context)
    assert isinstance(ticked, dg.SensorResult)
    return ticked


def send(defs: dg.Definitions, instance: dg.DagsterInstance) -> RunOutcome:
    return run_job(instance, "send_for_annotation", RELEASE, defs=defs, is_quiet=True)


def test_tasks_are_sent_and_answers_collected_once(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance, asked: Dataset
) -> None:
    for _ in range(2):
        assert send(defs, instance).is_success
    assert len(list((folder(house) / "tasks").glob("*.json"))) == 2
    idle = tick(defs, instance, None)
    assert "no answer to a task of any release yet" in str(idle.skip_reason)

    hand_in(house, 0, "ann")
    first = tick(defs, instance, idle.cursor)
    (request,) = first.run_requests or []
    assert (request.partition_key, str(request.run_key)[:11]) == (RELEASE, "answers-r1-")
    quiet = tick(defs, instance, first.cursor)
    assert not quiet.run_requests
    assert "Nothing new at the folder" in str(quiet.skip_reason)
    (made,) = run_job(instance, "collect_answers", RELEASE, defs=defs, is_quiet=True).assets
    assert (made.asset, made.metadata["answers"], made.metadata["documents"]) == ("human_annotations", 1, 1)
    assert made.metadata["kappa_class"] == "undefined"  # nobody shares a document yet
    assert "# Answers of people about r1" in str(made.metadata["report_full"])
    assert "data:image/svg+xml;base64" in str(made.metadata["report_full"])
    assert not made.is_reused
    (again,) = run_job(instance, "collect_answers", RELEASE, defs=defs, is_quiet=True).assets
    assert again.is_reused

    hand_in(house, 1, "bob")
    second = tick(defs, instance, quiet.cursor)
    (other,) = second.run_requests or []
    assert other.run_key != request.run_key
    (more,) = run_job(instance, "collect_answers", RELEASE, defs=defs, is_quiet=True).assets
    assert more.metadata["answers"] == 2


def test_a_state_of_the_desk_that_comes_again_is_collected_again(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance, asked: Dataset
) -> None:
    send(defs, instance)
    cursor, keys = None, []
    for _ in range(2):
        hand_in(house, 0, "ann")
        given = tick(defs, instance, cursor)
        (folder(house) / "answers" / "0-ann.json").unlink()
        gone = tick(defs, instance, given.cursor)
        cursor = gone.cursor
        keys += [request.run_key for request in (*(given.run_requests or []), *(gone.run_requests or []))]
    assert len(set(keys)) == len(keys) == 4  # Dagster starts a key once
    assert tick(defs, instance, given.cursor).run_requests == gone.run_requests  # a lost cursor asks for the same


def test_without_chosen_tasks_nothing_is_sent_and_the_run_says_so(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    outcome = send(defs, instance)
    assert "annotation_tasks was never materialised" in outcome.failure
    assert not (house.home / house.settings.annotation).exists()


def test_a_release_that_dagster_does_not_know_is_not_collected(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance, asked: Dataset
) -> None:
    send(defs, instance)
    hand_in(house, 0, "ann")
    folder(house).parent.rename(folder(house).parent.with_name("stray"))
    assert not tick(defs, instance, None).run_requests
    assert "stray" not in instance.get_dynamic_partitions("release")


def test_a_desk_that_is_down_is_said_and_the_cursor_stays(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    cursor = json.dumps({"requests": 3, "marks": {"r0": "mark"}})
    ticked = tick(defs, instance, cursor)
    assert "The desk cannot be asked now" in str(ticked.skip_reason)
    assert "make label-studio" in str(ticked.skip_reason)
    assert ticked.cursor == cursor


def test_answers_become_truths_of_the_next_release_once_their_gate_is_open(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance, asked: Dataset
) -> None:
    send(defs, instance)
    hand_in(house, 0, "ann")
    run_job(instance, "collect_answers", RELEASE, defs=defs, is_quiet=True)
    batch = house.store.open(house.store.current(f"human_annotations/{RELEASE}"))
    assets = [entry for entry in defs.assets or () if isinstance(entry, dg.AssetsDefinition)]
    annotated = next(entry for entry in assets if entry.key.path == ["annotated_docs"])

    def inputs(name: str) -> tuple[set[str], int]:
        instance.add_dynamic_partitions("release", [name])
        dg.materialize([annotated], partition_key=name, instance=instance, resources=dict(defs.resources or {}))
        manifest = house.store.open(house.store.current(f"annotated_docs/{name}")).manifest
        return set(manifest.inputs), manifest.metrics["batches_held"]

    record_verdicts(house, batch, passed=False)
    assert inputs("r2") == (set(), 1)
    record_verdicts(house, batch, passed=True)
    assert inputs("r3") == ({f"human_annotations/{RELEASE}"}, 0)
