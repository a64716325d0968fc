"""People's answers as truths of a release: which count, what they change, and that a closed gate holds them back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sap_llm.annotation.human_truths import human_truths, open_batches
from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.registry.gates import gates_of
from sap_llm.registry.verdicts import Verdict, VerdictStore
from sap_llm.schema.annotation import ANSWERS
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import ANNOTATIONS
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter
from tests.support.people import answer, tables
from tests.support.toy_corpus import identifier, toy_document, write_corpus

NOW = datetime(2025, 6, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "store"), clock=FrozenClock(NOW))


def batch(context: StageContext, name: str, rows: list[dict[str, Any]]) -> DatasetRef:
    """A version of `human_annotations` with these answers."""

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        annotations, answers = tables(rows)
        writer.write_table("annotations", annotations, ANNOTATIONS)
        writer.write_table("answers", answers, ANSWERS)
        return {}

    return build(context, name=name, stage_version=repr(rows), config=StageConfig(), produce=produce).ref


def annotate(context: StageContext, human: dict[str, DatasetRef], held: dict[str, str] | None = None) -> BuildResult:
    documents = [toy_document(name) for name in ("one", "two", "three")]
    documents.append(toy_document("four", truth=None, source="qorsync"))
    corpora = {"public_docs/toys": write_corpus(context, "public_docs/toys", documents)}
    return build_annotated_docs(
        context, config=AnnotatedDocsConfig(), corpora=corpora, release="r2", human=human, held=held
    )


def test_an_answer_is_the_most_trusted_truth_also_about_the_class(context: StageContext) -> None:
    rows = [
        answer(identifier("one"), "ann", {"total_amount": "1.00"}, kind="CREDIT_NOTE"),
        answer(identifier("four"), "ann", {"total_amount": "4.00"}, kind="DEBIT_NOTE"),
        answer(identifier("elsewhere"), "ann"),
    ]
    built = annotate(context, {"human_annotations/r1": batch(context, "human_annotations/r1", rows)})
    documents = {row["document_id"]: row for row in built.dataset.table("documents").to_pylist()}
    assert documents[identifier("one")]["truth_source"] == "human"
    assert documents[identifier("one")]["document_type"] == "CREDIT_NOTE"
    assert (documents[identifier("four")]["has_truth"], documents[identifier("four")]["truth_source"]) == (
        True,
        "human",
    )
    assert documents[identifier("two")]["truth_source"] == "synthetic"
    truths = [row for row in built.dataset.table("annotations").to_pylist() if row["source"] != "model"]
    sources = {row["document_id"]: row["source"] for row in truths}
    assert len(sources) == len(truths)
    assert [sources[identifier(name)] for name in ("one", "two", "four")] == ["human", "synthetic", "human"]
    assert built.manifest.metrics["documents_by_people"] == 2
    assert "human_annotations/r1" in built.manifest.inputs


def test_without_answers_a_release_is_what_it_was(context: StageContext) -> None:
    built = annotate(context, {})
    assert built.manifest.metrics["documents_by_people"] == 0
    assert built.manifest.inputs.keys() == {"public_docs/toys"}
    empty = annotate(context, {"human_annotations/r1": batch(context, "human_annotations/r1", [])})
    assert empty.manifest.data_version == built.manifest.data_version


def test_where_people_disagree_nobody_is_believed(context: StageContext) -> None:
    rows = [answer(identifier("one"), who, kind=kind) for who, kind in (("ann", "CREDIT_NOTE"), ("bob", "DEBIT_NOTE"))]
    built = annotate(context, {"human_annotations/r1": batch(context, "human_annotations/r1", rows)})
    documents = {row["document_id"]: row for row in built.dataset.table("documents").to_pylist()}
    assert documents[identifier("one")]["truth_source"] == "synthetic"


def test_of_two_batches_the_later_answer_counts(context: StageContext) -> None:
    old = [answer(identifier("one"), "ann", kind="CREDIT_NOTE", minutes=0)]
    new = [answer(identifier("one"), "ann", kind="DEBIT_NOTE", minutes=60)]
    refs = {"human_annotations/b": batch(context, "human_annotations/b", old)}
    refs["human_annotations/a"] = batch(context, "human_annotations/a", new)
    (row,) = human_truths(context.store, refs).to_pylist()
    assert row["document_type"] == "DEBIT_NOTE"


def test_a_batch_whose_gate_is_closed_is_held_back_until_it_opens_or_is_overridden(
    context: StageContext, tmp_path: Path
) -> None:
    verdicts = VerdictStore(tmp_path / "registry", clock=FrozenClock(NOW))
    ref = batch(context, "human_annotations/r1", [answer(identifier("one"), "ann", kind="CREDIT_NOTE")])
    batches = {"human_annotations/r1": ref}
    version = context.store.open(ref).manifest.data_version
    (gate,) = gates_of("human_annotations/r1")

    def tried() -> tuple[dict[str, DatasetRef], dict[str, str]]:
        return open_batches(context.store, batches, verdicts=verdicts, consumer="annotated_docs")

    usable, held = tried()  # nobody judged it yet
    assert (usable, list(held)) == ({}, ["human_annotations/r1"])
    said: list[str] = []

    def tell(message: str, *, done: int = 0, total: int = 0) -> None:
        said.append(message)

    told = StageContext(store=context.store, clock=context.clock, progress=tell)
    built = annotate(told, usable, held)
    assert built.manifest.metrics["batches_held"] == 1
    assert built.manifest.metrics["documents_by_people"] == 0
    assert any("human_annotations/r1 is held back" in message and gate in message for message in said)
    about = {"gate": gate, "data_version": version, "measured": {}, "required": {}, "created_at": NOW}
    verdicts.record(Verdict(passed=False, explanation="kappa 0.5", **about))
    assert tried()[0] == {}
    verdicts.override(version, gate, who="ann", why="small batch", until=NOW + timedelta(days=1))
    assert tried() == (batches, {})
