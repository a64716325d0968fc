"""The desk that is a folder: what a person may drop into it, and what is said about what cannot be used."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sap_llm.annotation.adjudication import resolve
from sap_llm.annotation.desk import TaskKey
from sap_llm.annotation.file_answers import from_form
from sap_llm.annotation.file_desk import FileDesk
from sap_llm.annotation.human import HumanAnnotationsConfig, build_human_annotations
from sap_llm.annotation.sending import SendingConfig, Sent, send
from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.reading.pdf import render_page
from sap_llm.schema.annotation import TASKS
from sap_llm.schema.document import DocumentForm
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.tables import conform
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.toy_corpus import toy_document, write_corpus
from tests.support.typeset_corpus import typeset_corpus

RELEASE = "r1"


class Room:
    """One folder desk and four invoices."""

    def __init__(self, folder: Path, context: StageContext) -> None:
        self.context = context
        self.corpus = typeset_corpus(context, documents=4)
        self.desk = FileDesk(folder)
        self.annotated = self.annotate({self.corpus.ref.name: self.corpus.ref})
        self.ids = sorted(self.corpus.table("documents").column("document_id").to_pylist())

    def annotate(self, corpora: dict[str, DatasetRef]) -> DatasetRef:
        return build_annotated_docs(self.context, config=AnnotatedDocsConfig(), corpora=corpora, release=RELEASE).ref

    def tasks(self, **changes: Any) -> pa.Table:
        about = {"input": self.corpus.ref.name, "queue": "annotators", "purpose": "flagged", "annotators": 1}
        rows = [about | {"document_id": one, "priority": float(index)} for index, one in enumerate(self.ids)]
        return conform([row | changes for row in rows], TASKS)

    def send(self, tasks: pa.Table, annotated: DatasetRef | None = None, *, human: DatasetRef | None = None) -> Sent:
        return send(
            self.context,
            desk=self.desk,
            tasks=tasks,
            annotated=annotated or self.annotated,
            release=RELEASE,
            config=SendingConfig(),
            render=lambda content, page_number=1, scale=1.0, *, name="document": render_page(
                content, name=name, page_number=page_number, scale=scale
            ),
            human=human,
        )

    def sync(self, previous: BuildResult | None = None) -> BuildResult:
        return build_human_annotations(
            self.context,
            config=HumanAnnotationsConfig(),
            desk=self.desk,
            release=RELEASE,
            previous=previous.ref if previous else None,
        )

    @property
    def folder(self) -> Path:
        return Path(self.desk.name.removeprefix("the folder ")) / RELEASE / "annotators"

    def form(self, number: int = 0, **about: Any) -> dict[str, Any]:
        """The task's JSON as a person hands it in."""
        content: dict[str, Any] = json.loads((self.folder / "tasks" / f"{self.ids[number]}.json").read_text())
        content["metadata"] |= {"annotator_id": "ann", "annotation_time": "2025-11-15T10:30:00Z"} | about
        return content

    def drop(self, content: Any, name: str = "a.json") -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.folder / "answers" / name).write_text(text)

    def pages(self, number: int = 0) -> list[Page]:
        rows = self.corpus.table("pages").to_pylist()
        return [Page.from_row(row) for row in rows if row["document_id"] == self.ids[number]]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """The invoices are typeset once."""
    return StageContext(store=DatasetStore(tmp_path_factory.mktemp("store")))


@pytest.fixture
def room(tmp_path: Path, context: StageContext) -> Room:
    made = Room(tmp_path, context)
    made.send(made.tasks())
    return made


def test_a_task_is_the_annotation_json_with_the_documents_file_beside_it(room: Room) -> None:
    form = DocumentForm.model_validate_json((room.folder / "tasks" / f"{room.ids[0]}.json").read_text())
    assert (form.document_id, form.document_type) == (room.ids[0], "SUPPLIER_INVOICE")
    assert {field.source for page in form.pages for field in page.fields} == {"model"}
    assert form.metadata["task"] == {
        "release": RELEASE, "queue": "annotators", "corpus": str(room.corpus.ref), "purpose": "flagged",
        "annotators": 1, "priority": 0.0, "decides_on": [],
    }  # fmt: skip
    assert (room.folder / "tasks" / f"{room.ids[0]}.pdf").read_bytes().startswith(b"%PDF")
    assert room.desk.keys(RELEASE) == {
        TaskKey(release=RELEASE, queue="annotators", document_id=one) for one in room.ids
    }


def test_a_handed_in_task_is_an_answer(room: Room) -> None:
    room.drop(room.form(lead_seconds=12.5))
    built = room.sync()
    (annotation,) = built.dataset.table("annotations").to_pylist()
    assert (annotation["annotator"], annotation["source"]) == ("ann", "human")
    assert {field["source"] for field in annotation["fields"]} == {"human"}
    values = {field["field"]: (field["value"], field["printed"]) for field in annotation["fields"]}
    assert values["total_amount"][0] == "267.75"
    assert all(field["word_ids"] for field in annotation["fields"] if field["box"])
    (answer,) = built.dataset.table("answers").to_pylist()
    assert (answer["lead_seconds"], answer["desk_id"]) == (12.5, "file:annotators/a.json")
    (record,) = built.dataset.table("records").to_pylist()
    assert record["created_at"].isoformat() == "2025-11-15T10:30:00+00:00"


def test_a_time_ahead_of_the_file_is_not_believed(room: Room) -> None:
    room.drop(room.form(annotation_time="2190-01-01T00:00:00Z"))
    (record,) = room.sync().dataset.table("records").to_pylist()
    assert record["created_at"] == record["updated_at"]


def test_a_file_set_back_in_time_is_found(room: Room) -> None:
    room.drop(room.form())
    first = room.sync()
    room.drop(room.form(annotator_id="bob"), "b.json")
    os.utime(room.folder / "answers" / "b.json", (0, 0))
    second = room.sync(first)
    assert sorted(second.dataset.table("answers").column("annotator").to_pylist()) == ["ann", "bob"]


def test_answers_that_differ_go_to_the_seniors_who_must_say_why(room: Room) -> None:
    room.drop(room.form())
    other = room.form(annotator_id="bob")
    other["pages"][0]["fields"][0] |= {"value": "RE-1", "printed": "RE-1"}
    room.drop(other, "b.json")
    first = room.sync()
    assert room.send(room.tasks(), human=first.ref).posted == 1
    seniors = room.folder.with_name("seniors")
    form = json.loads((seniors / "tasks" / f"{room.ids[0]}.json").read_text())
    assert len(form["metadata"]["task"]["decides_on"]) == 2
    form["metadata"] |= {"annotator_id": "ivy", "annotation_time": "2025-11-15T10:30:00Z"}
    (seniors / "answers" / "a.json").write_text(json.dumps(form))
    second = room.sync(first).dataset
    assert "arbitration_without_reason" in second.table("quarantine").column("reason").to_pylist()
    assert resolve(second.table("annotations"), second.table("answers")).truths.num_rows == 0
    form["metadata"]["why"] = "the heading"
    (seniors / "answers" / "a.json").write_text(json.dumps(form))
    third = room.sync(room.sync(first)).dataset
    (truth,) = resolve(third.table("annotations"), third.table("answers")).truths.to_pylist()
    assert (truth["annotator"], truth["document_type"]) == ("ivy", "SUPPLIER_INVOICE")


@pytest.mark.parametrize("about", [{"annotator_id": "bob"}, {}])
def test_one_file_is_one_answer_whoever_and_whatever_it_is_about(room: Room, about: dict[str, str]) -> None:
    room.drop(room.form())
    first = room.sync()
    form = room.form(**about) if about else room.form(1)
    room.drop(form)
    second = room.sync(first)
    (answer,) = second.dataset.table("answers").to_pylist()
    assert (answer["document_id"], answer["annotator"]) == (form["document_id"], form["metadata"]["annotator_id"])
    assert len(second.dataset.table("annotations")) == 1
    assert len(second.dataset.table("records")) == 3  # given, withdrawn, given
    assert room.sync(second).ref == second.ref


@pytest.mark.parametrize(
    ("spoil", "reason", "said"),
    [
        (lambda form: json.dumps(form)[:300], "garbled", "may be cut off"),
        (lambda _: "", "garbled", "no JSON"),
        (lambda _: '{"a": NaN}', "garbled", "NaN is no number"),
        (lambda _: "[" * 100_000, "garbled", "no JSON"),
        (lambda _: [{"id": 7, "annotations": []}], "garbled", "export of a labelling tool"),
        (lambda form: form | {"document_id": "doc-of-another-project"}, "foreign_task", "not about a task"),
        (lambda form: form | {"document_id": "../../../secret"}, "foreign_task", "not about a task"),
        (lambda form: form | {"document_id": 7}, "foreign_task", "not about a task"),
        (lambda form: form | {"document_type": "LUNCH_MENU"}, "unknown_class", "'LUNCH_MENU' is not in the taxonomy"),
        (lambda form: form | {"document_subtype": "LUNAR"}, "unknown_subtype", "no subtype 'LUNAR'"),
        (lambda form: form | {"pages": [form["pages"][0] | {"page_number": 2}]}, "no_place", "no page 2"),
        (lambda form: form | {"pages": [form["pages"][0] | {"image_width": 0}]}, "no_place", "no page 1 of 0"),
        (lambda form: form | {"grade": "A"}, "garbled", "grade"),
        (lambda form: _field(form, field_name="grand_total"), "unknown_field", "'grand_total' is not in the taxonomy"),
        (lambda form: _field(form, bbox=[10, 10, 99999, 40]), "box_outside_page", "page 1 is 595 x 842"),
        (lambda form: _field(form, bbox=[10, 10, 10, 40]), "empty_box", "has no area"),
        (lambda form: _field(form, bbox=[10, 10, 20]), "garbled", "bbox"),
        (lambda form: _field(form, printed="\ud800"), "garbled", "does not fit"),
        (lambda form: form | {"metadata": {}}, "missing_annotator", "metadata.annotator_id"),
        (lambda form: form | {"metadata": {"annotator_id": "a\ud800"}}, "missing_annotator", "annotator_id"),
    ],
)
def test_a_bad_answer_is_quarantined_and_the_others_are_taken(room: Room, spoil: Any, reason: str, said: str) -> None:
    room.drop(room.form(1, annotator_id="bob"), "good.json")
    room.drop(spoil(room.form()))
    built = room.sync()
    assert built.dataset.table("answers").column("annotator").to_pylist() == ["bob"]
    (row,) = built.dataset.table("quarantine").to_pylist()
    assert (row["record"], row["reason"]) == ("file:annotators/a.json", reason)
    assert said in row["detail"]
    assert row["detail"].endswith("Mend the answer at the desk.")
    assert room.sync(built).ref == built.ref
    room.drop(room.form(annotator_id="ann, after mending"))
    mended = room.sync(built)
    assert mended.manifest.rows["answers"] == 2
    assert mended.manifest.rows["quarantine"] == 1  # what was said stays said


def _field(form: dict[str, Any], **changes: Any) -> dict[str, Any]:
    page = form["pages"][0]
    fields = [page["fields"][0] | changes, *page["fields"][1:]]
    return form | {"pages": [page | {"fields": fields}]}


def test_values_of_a_row_are_placed_where_only_one_place_says_them(room: Room) -> None:
    truth = next(row for row in room.corpus.table("annotations").to_pylist() if row["document_id"] == room.ids[0])
    sizes = [(page.width, page.height) for page in room.pages()]
    form = DocumentForm.from_row(truth, page_sizes=sizes)
    read = from_form(json.loads(form.model_dump_json()), room.pages(), language="de")
    first = next(item for item in read["line_items"] if item["line_number"] == 1)
    true = next(item for item in truth["line_items"] if item["line_number"] == 1)
    found = {field["field"]: field["word_ids"] for field in first["fields"]}
    wanted = {field["field"]: field["word_ids"] for field in true["fields"]}
    assert {field["value"] for field in first["fields"]} == {field["value"] for field in true["fields"]}
    assert found["line_description"] == wanted["line_description"]
    assert found["line_net_amount"] == wanted["line_net_amount"]
    assert all(ids is None or ids == wanted[name] for name, ids in found.items())


def test_documents_that_cannot_be_shown_are_refused_and_the_others_sent(room: Room) -> None:
    bare = toy_document("bare")  # its corpus has no files
    toys = write_corpus(room.context, "public_docs/toys", [bare])
    annotated = room.annotate({toys.name: toys, room.corpus.ref.name: room.corpus.ref})
    rows = [
        {"document_id": bare["document_id"], "input": toys.name, "queue": "experts", "purpose": "active",
         "annotators": 1, "priority": 9.0},
        {"document_id": "doc-nowhere", "input": toys.name, "queue": "experts", "purpose": "active",
         "annotators": 1, "priority": 8.0},
    ]  # fmt: skip
    tasks = pa.concat_tables([conform(rows, TASKS), room.tasks(queue="experts")])
    sent = room.send(tasks, annotated)
    assert (sent.posted, sent.present) == (4, 0)
    assert [row["record"] for row in sent.refused] == [bare["document_id"], "doc-nowhere"]
    assert {row["reason"] for row in sent.refused} == {"cannot_be_shown"}
    assert "its file or its pages are not in the corpus" in sent.refused[0]["detail"]


def test_a_queue_that_is_none_of_ours_is_refused(room: Room) -> None:
    with pytest.raises(ConfigurationError, match=r"no queue 'interns'.*Known: annotators"):
        room.send(room.tasks(queue="interns"))
