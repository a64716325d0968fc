"""Putting tasks on the desk: idempotent, resumable, in batches.

Belongs here: from rows of `schema.annotation.TASKS` to what a desk is given, and what cannot be shown. Which documents
are asked about is decided before (`annotation_tasks`); the desks are `label_studio_desk` and `file_desk`.

The desk itself is the record of what was sent: a sender that was killed between import and anything that it could have
written down asks the desk what is there and goes on.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from sap_llm.annotation.adjudication import arbitration_tasks, resolve
from sap_llm.annotation.desk import Desk, DeskTask, TaskKey
from sap_llm.schema.annotation import QUEUES
from sap_llm.schema.errors import ConfigurationError, UnreadableDocumentError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import ANNOTATIONS, DOCUMENTS
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset

ARBITERS = "seniors"
_SMALLER, _COARSEST_DPI = 0.75, 60.0

Row = dict[str, Any]


class SendingConfig(BaseModel):
    """How tasks are put on the desk; the key `sending` of `configs/<profile>/human_annotations.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_tasks: int = Field(
        default=20, description="tasks handed over at a time; a kill loses one batch at most", ge=1
    )
    picture_dpi: float = Field(default=150.0, description="of the pages as people see them", ge=60, le=600)
    max_picture_bytes: int = Field(
        default=2_000_000, description="a page's picture is made coarser until it is smaller", ge=10_000
    )


class RenderPage(Protocol):
    """Draws one page of a document's file as PNG (`reading.sandbox.Sandbox.render`)."""

    def __call__(self, content: bytes, page_number: int = 1, scale: float = 1.0, *, name: str = "document") -> bytes:
        """The PNG; `scale` is pixels a point. Raises UnreadableDocumentError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a call did.

    Attributes:
        posted: Tasks that were put on the desk now.
        present: Tasks that were there.
        renewed: Arbitrations that were there and now decide on more answers: the senior is to confirm or change.
        refused: Quarantine rows of documents that cannot be shown.
    """

    posted: int
    present: int
    renewed: int = 0
    refused: Sequence[Row] = field(default=())


def send(
    context: StageContext,
    *,
    desk: Desk,
    tasks: pa.Table,
    annotated: DatasetRef,
    release: str,
    config: SendingConfig,
    render: RenderPage,
    human: DatasetRef | None = None,
) -> Sent:
    """Put every task on the desk that is not there, those of highest priority first.

    Documents on which the answers so far differ are tasks for the seniors as well.

    Args:
        context: Store and progress.
        desk: Where people answer.
        tasks: Rows of `schema.annotation.TASKS`.
        annotated: Version of `annotated_docs` with documents and pre-annotations; its inputs hold pages and blobs.
        release: The batch.
        config: Batches and pictures.
        render: Draws pages, for a desk that shows pictures.
        human: Version of `human_annotations` with the answers that seniors decide on.

    Raises:
        DeskUnavailableError: The desk cannot be reached; what was posted stays, the same call goes on.
        ConfigurationError: A queue is not one of ours.
    """
    source = _Source(context.store.open(annotated), context, render if desk.shows_pictures else None, config)
    if human is not None:
        tasks = pa.concat_tables([tasks, source.arbitrations(context.store.open(human))])
    wanted = _in_order(tasks, release)
    there = desk.keys(release)
    missing = [(key, row) for key, row in wanted if key not in there]
    refused: list[Row] = []
    posted = 0
    context.progress("sending tasks", done=0, total=len(missing))
    for start in range(0, len(missing), config.batch_tasks):
        batch = list(source.tasks(missing[start : start + config.batch_tasks], refused))
        desk.post(batch)
        posted += len(batch)
        context.progress("sending tasks", done=start + len(batch), total=len(missing))
    if missing:
        desk.keys(release)  # a sender that was killed may have had its last import done behind our back
    reopened = source.decisions(key for key, _ in wanted if key in there)
    renewed = desk.renew(release, reopened) if reopened else 0
    return Sent(posted=posted, present=len(wanted) - len(missing), renewed=renewed, refused=refused)


def _in_order(tasks: pa.Table, release: str) -> list[tuple[TaskKey, Row]]:
    """Tasks by key, one each, the most urgent first."""
    found: dict[TaskKey, Row] = {}
    for row in sorted(tasks.to_pylist(), key=lambda row: (-row["priority"], row["document_id"], row["queue"])):
        if row["queue"] not in QUEUES:
            raise ConfigurationError(
                f"no queue {row['queue']!r}", where="table tasks", remedy=f"Known: {', '.join(QUEUES)}."
            )
        found.setdefault(TaskKey(release=release, queue=row["queue"], document_id=row["document_id"]), row)
    return list(found.items())


class _Source:
    """Reads for a batch of tasks what a desk needs to show them."""

    def __init__(
        self, annotated: Dataset, context: StageContext, render: RenderPage | None, config: SendingConfig
    ) -> None:
        self._annotated, self._store, self._render, self._config = annotated, context.store, render, config
        self._decided: dict[str, Sequence[str]] = {}
        self._given: dict[str, Row] = {}

    def arbitrations(self, human: Dataset) -> pa.Table:
        """Remember the answers that disagree, by document; these documents as tasks of the seniors."""
        annotations, answers = human.table("annotations"), human.table("answers")
        disagreements = resolve(annotations, answers).disagreements
        self._decided = {row["document_id"]: row["desk_ids"] for row in disagreements.to_pylist()}
        rows = {_key(row): row for row in annotations.to_pylist()}
        latest = sorted(answers.to_pylist(), key=lambda row: int(row["revision"]))
        self._given = {row["desk_id"]: rows[_key(row)] for row in latest}
        ids = pa.array(self._decided, pa.string())
        documents = self._rows(self._annotated, "documents", ["document_id", "input"], ids)
        is_known = pc.is_in(disagreements.column("document_id"), value_set=pa.array(documents, pa.string()))
        inputs = {document_id: row["input"] for document_id, row in documents.items()}
        return arbitration_tasks(disagreements.filter(is_known), inputs)

    def decisions(self, keys: Iterable[TaskKey]) -> dict[TaskKey, Sequence[str]]:
        """Answers that each arbitration has to decide on now, where there are any."""
        asked = ((key, self._decided.get(key.document_id)) for key in keys if key.queue == ARBITERS)
        return {key: desk_ids for key, desk_ids in asked if desk_ids}

    def tasks(self, batch: Sequence[tuple[TaskKey, Row]], refused: list[Row]) -> Iterator[DeskTask]:
        """The batch as a desk takes it; what cannot be shown goes to `refused`."""
        ids = pa.array(sorted({key.document_id for key, _ in batch}))
        documents = self._rows(self._annotated, "documents", [*DOCUMENTS.names, "input"], ids)
        guesses = self._rows(self._annotated, "annotations", ANNOTATIONS.names, ids, source="model")
        sizes: dict[str, list[tuple[int, float, float]]] = {}
        blobs: dict[str, bytes] = {}
        for name in sorted({row["input"] for row in documents.values()} & self._annotated.manifest.inputs.keys()):
            corpus = self._store.open(self._annotated.manifest.inputs[name])
            columns = ["document_id", "page_number", "width", "height"]
            for page in corpus.scan("pages").to_table(columns=columns, filter=_isin("document_id", ids)).to_pylist():
                size = (page["page_number"], page["width"], page["height"])
                sizes.setdefault(page["document_id"], []).append(size)
            digests = pa.array(sorted({row["sha256"] for row in documents.values() if row["input"] == name}))
            found = corpus.scan("blobs").to_table(columns=["sha256", "content"], filter=_isin("sha256", digests))
            blobs |= {row["sha256"]: row["content"] for row in found.to_pylist()}
        for key, row in batch:
            document = documents.get(key.document_id)
            try:
                if document is None:
                    raise UnreadableDocumentError("not in the annotated documents", where=key.document_id)
                if document["sha256"] not in blobs or key.document_id not in sizes:
                    raise UnreadableDocumentError("its file or its pages are not in the corpus", where=key.document_id)
                place = [(width, height) for _, width, height in sorted(sizes[key.document_id])]
                guess = guesses.get(key.document_id)
                yield self._task(key, row, document, place, blobs[document["sha256"]], [guess] if guess else [])
            except UnreadableDocumentError as error:
                refused.append(_refusal(key, row, error))

    def _task(
        self,
        key: TaskKey,
        row: Row,
        document: Row,
        sizes: Sequence[tuple[float, float]],
        content: bytes,
        guesses: Sequence[Row],
    ) -> DeskTask:
        decides_on = self.decisions([key]).get(key, ())
        return DeskTask(
            key=key,
            corpus=str(self._annotated.manifest.inputs[document["input"]]),
            document=document,
            purpose=row["purpose"],
            annotators=row["annotators"],
            priority=row["priority"],
            page_sizes=sizes,
            guesses=[self._given[desk_id] for desk_id in decides_on] or guesses,
            decides_on=decides_on,
            content=content,
            pictures=self._pictures(key, content, len(sizes)),
        )

    def _pictures(self, key: TaskKey, content: bytes, pages: int) -> list[bytes]:
        if self._render is None:
            return []
        return [self._picture(self._render, key, content, number) for number in range(1, pages + 1)]

    def _picture(self, render: RenderPage, key: TaskKey, content: bytes, number: int) -> bytes:
        dpi = self._config.picture_dpi
        while True:
            picture = render(content, number, dpi / 72, name=key.document_id)
            if len(picture) <= self._config.max_picture_bytes:
                return picture
            dpi *= _SMALLER
            if dpi < _COARSEST_DPI:
                raise UnreadableDocumentError(
                    f"the picture of page {number} has {len(picture):,} bytes at {dpi / _SMALLER:.0f} dots per inch",
                    where=key.document_id,
                    remedy="Raise sending.max_picture_bytes.",
                )

    @staticmethod
    def _rows(
        dataset: Dataset, table: str, columns: list[str], ids: pa.Array, *, source: str | None = None
    ) -> dict[str, Row]:
        wanted = _isin("document_id", ids)
        if source is not None:
            wanted &= pc.field("source") == source
        rows = dataset.scan(table).to_table(columns=columns, filter=wanted).to_pylist()
        return {row["document_id"]: row for row in rows}


def _isin(column: str, values: pa.Array) -> Any:
    return pc.field(column).isin(values)


def _key(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["document_id"], row["annotator"], row["revision"]


def _refusal(key: TaskKey, row: Row, error: UnreadableDocumentError) -> Row:
    return {
        "record": key.document_id,
        "source": str(key),
        "field": None,
        "reason": "cannot_be_shown",
        "detail": str(error),
        "payload": json.dumps(row, sort_keys=True),
    }
