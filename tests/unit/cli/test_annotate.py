"""`sap-llm annotate`: tasks to the desk, answers back, how far it is; what is missing is said."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.cli import annotate
from sap_llm.deployment import Deployment
from sap_llm.schema.annotation import TASKS
from sap_llm.schema.errors import DatasetNotFoundError
from sap_llm.schema.tables import conform
from sap_llm.storage.build import StageConfig, build
from sap_llm.storage.store import DatasetWriter
from tests.support.typeset_corpus import typeset_corpus


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    return Deployment.load()


def _choose(house: Deployment) -> None:
    corpus = typeset_corpus(house.context(), documents=2).ref
    annotated = build_annotated_docs(
        house.context(), config=AnnotatedDocsConfig(), corpora={corpus.name: corpus}, release="r1"
    )
    about = {"input": corpus.name, "queue": "experts", "purpose": "flagged", "annotators": 1, "priority": 1.0}
    rows = annotated.dataset.table("documents").select(["document_id"]).to_pylist()

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        writer.write_table("tasks", conform([row | about for row in rows], TASKS), TASKS)
        return {}

    build(
        house.context(),
        name="annotation_tasks/r1",
        stage_version="1",
        config=StageConfig(),
        inputs={annotated.ref.name: annotated.ref},
        produce=produce,
    )


def _run(*arguments: str) -> Result:
    app = typer.Typer()
    annotate.register(app)
    app.command("other")(lambda: None)  # a single group would be taken for the program itself
    return CliRunner().invoke(app, ["annotate", *arguments])


def test_tasks_go_out_and_answers_come_back(house: Deployment) -> None:
    _choose(house)
    assert "no tasks at the folder" in _run("status").output
    assert "2 tasks sent to the folder" in _run("send", "--release", "r1").output
    assert "0 tasks sent" in _run("send", "--release", "r1").output
    folder = house.home / house.settings.annotation / "r1" / "experts"
    task = min((folder / "tasks").glob("*.json"))
    content = json.loads(task.read_text())
    content["metadata"]["annotator_id"] = "ann"
    (folder / "answers" / "ann.json").write_text(json.dumps(content))
    (folder / "answers" / "cut.json").write_text(task.read_text()[:100])
    synced = _run("sync", "--release", "r1")
    assert synced.exit_code == 0, synced.output
    said = " ".join(synced.output.split())
    assert "human_annotations/r1 built" in said
    assert "answers 1" in said
    assert "annotator_agreement" in said  # judged at once, as Dagster's check does
    assert "cut.json garbled: cut.json is no JSON" in said
    assert "human_annotations/r1 reused" in " ".join(_run("sync", "--release", "r1", "--full").output.split())
    shown = " ".join(_run("status").output.replace("│", " ").split())
    assert "r1 experts 2 2 0" in shown


def test_without_chosen_tasks_it_says_what_was_never_built(house: Deployment) -> None:
    error = _run("send", "--release", "r1").exception
    assert isinstance(error, DatasetNotFoundError)
    assert "annotation_tasks/r1 was never built" in str(error)


def test_every_verb_explains_itself() -> None:
    for verb, said in (("send", "never sent twice"), ("sync", "--full"), ("status", "every queue")):
        shown = _run(verb, "--help")
        assert shown.exit_code == 0
        assert said in " ".join(shown.output.split())
