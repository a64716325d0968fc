"""Desks with people, and a few documents to ask them about."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sap_llm.annotation.desk import TaskKey
from sap_llm.annotation.human import HumanAnnotationsConfig, build_human_annotations
from sap_llm.annotation.sending import SendingConfig, Sent, send
from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.reading.pdf import render_page
from sap_llm.schema.annotation import TASKS
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import conform
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.integration.servers.label_studio import LabelStudioServer, label_studio_server
from tests.support.desk_people import FilePeople, People, StudioPeople
from tests.support.typeset_corpus import typeset_corpus

DOCUMENTS = 8


def draw(content: bytes, page_number: int = 1, scale: float = 1.0, *, name: str = "document") -> bytes:
    """Files of our own making need no sandbox."""
    return render_page(content, name=name, page_number=page_number, scale=scale)


@dataclass
class Office:
    """Annotated documents, and how they are asked about."""

    context: StageContext
    corpus: DatasetRef
    annotated: DatasetRef

    def tasks(self, *, queue: str = "annotators", annotators: int = 1, first: int = 0, last: int = 4) -> pa.Table:
        ids = sorted(self.context.store.open(self.annotated).table("documents").column("document_id").to_pylist())
        about = {"input": self.corpus.name, "queue": queue, "purpose": "flagged", "annotators": annotators}
        rows = [{"document_id": one, "priority": float(index), **about} for index, one in enumerate(ids)]
        return conform(rows[first:last], TASKS)

    def keys(self, release: str, tasks: pa.Table) -> list[TaskKey]:
        return [
            TaskKey(release=release, queue=row["queue"], document_id=row["document_id"]) for row in tasks.to_pylist()
        ]

    def send(self, people: People, release: str, tasks: pa.Table, human: DatasetRef | None = None) -> Sent:
        return send(
            self.context,
            desk=people.desk,
            tasks=tasks,
            annotated=self.annotated,
            release=release,
            config=SendingConfig(batch_tasks=3, picture_dpi=72),
            render=draw,
            human=human,
        )

    def sync(
        self, people: People, release: str, previous: BuildResult | None = None, *, is_full: bool = False
    ) -> BuildResult:
        return build_human_annotations(
            self.context,
            config=HumanAnnotationsConfig(),
            desk=people.desk,
            release=release,
            previous=previous.ref if previous else None,
            is_full=is_full,
        )

    def truth(self, key: TaskKey) -> dict[str, Any]:
        return next(
            row
            for row in self.context.store.open(self.corpus).table("annotations").to_pylist()
            if row["document_id"] == key.document_id
        )

    def sizes(self, key: TaskKey) -> list[tuple[float, float]]:
        pages = self.context.store.open(self.corpus).table("pages").to_pylist()
        return [(page["width"], page["height"]) for page in pages if page["document_id"] == key.document_id]


def values(annotation: dict[str, Any]) -> Any:
    """What an annotation says, wherever it stands."""
    header = Counter((field["field"], field["value"]) for field in annotation["fields"])
    lines = {
        item["line_number"]: sorted((field["field"], field["value"]) for field in item["fields"])
        for item in annotation["line_items"]
    }
    return annotation["document_type"], annotation["document_subtype"], header, lines


def answers_of(built: BuildResult) -> list[dict[str, Any]]:
    rows = built.dataset.table("answers").to_pylist()
    return sorted(rows, key=lambda row: (row["document_id"], row["annotator"], row["revision"]))


def reasons(built: BuildResult) -> Counter[str]:
    return Counter(built.dataset.table("quarantine").column("reason").to_pylist())


@pytest.fixture
def release(request: pytest.FixtureRequest) -> str:
    """A batch of its own for each test: the server is shared."""
    return f"r{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    context = StageContext(store=DatasetStore(tmp_path_factory.mktemp("office")))
    corpus = typeset_corpus(context, documents=DOCUMENTS).ref
    built = build_annotated_docs(context, config=AnnotatedDocsConfig(), corpora={corpus.name: corpus}, release="asked")
    return Office(context, corpus, built.ref)


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    with label_studio_server(tmp_path_factory.mktemp("label_studio")) as server:
        yield server


@pytest.fixture(scope="session")
def studio_people(label_studio: LabelStudioServer) -> StudioPeople:
    return StudioPeople(label_studio)


@pytest.fixture(params=["folder", pytest.param("label_studio", marks=pytest.mark.slow)])
def people(request: pytest.FixtureRequest, tmp_path: Path) -> People:
    """The same tests run at both desks."""
    if request.param == "folder":
        return FilePeople(tmp_path / "desk")
    found: StudioPeople = request.getfixturevalue("studio_people")
    return found
