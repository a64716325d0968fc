"""The stage `human_annotations`: what people answered at the desk about one batch.

Belongs here: taking over what is new at a desk, revisions, what was withdrawn, quarantine. Asking people is `sending`,
the desks are `label_studio_desk` and `file_desk`; which of several answers counts is `adjudication`.

A version holds everything that its predecessor held. An answer that was deleted or skipped at the desk leaves the
tables `annotations` and `answers`, where it would count, and stays in `quarantine` and `records` with all that it said.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sap_llm.annotation.annotator_report import report_on, write_report
from sap_llm.annotation.desk import Desk, DeskAnswer, News, UnreadableAnswerError, canonical_json
from sap_llm.annotation.sending import SendingConfig
from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.schema.annotation import ANSWERS, DESK_RECORDS
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.tables import ANNOTATIONS, QUARANTINE, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter

STAGE = "human_annotations"
STAGE_VERSION = "1"
TAKEN, DELETED, SKIPPED = "taken", "deleted", "skipped"
_NEVER = datetime.fromtimestamp(0, UTC)

Row = dict[str, Any]


class HumanAnnotationsConfig(StageConfig):
    """`configs/<profile>/human_annotations.yaml`."""

    batch_documents: int = Field(default=128, description="documents whose answers are read at a time", ge=1)
    sending: SendingConfig = SendingConfig()


def build_human_annotations(
    context: StageContext,
    *,
    config: HumanAnnotationsConfig,
    desk: Desk,
    release: str,
    previous: DatasetRef | None = None,
    is_full: bool = False,
) -> BuildResult:
    """Take over what is new at the desk; without anything new the previous version is found again.

    Tables: `annotations` (source `human`), `answers` (`schema.annotation.ANSWERS`, same keys), `records`
    (`schema.annotation.DESK_RECORDS`), `quarantine`. Files: the report on those who answered, with its chart.

    Args:
        context: Store, clock and progress.
        config: How many at a time.
        desk: Where people answer.
        release: The batch that was asked.
        previous: The version to go on from; without one everything at the desk is read.
        is_full: Look at everything, not only at what is newer than the last look; refused answers are read again.

    Raises:
        DeskUnavailableError: The desk cannot be reached.
    """
    past = _Past.of(context.store, previous)
    known = dict.fromkeys(past.known, _NEVER) if is_full else past.known
    news = desk.news(release, cursor=None if is_full else past.cursor, known=known)
    state = _State(past)
    for answer, reading in _read_all(context, desk, release, news.answers, config):
        state.add(answer, reading, release)
    for desk_id in news.gone:
        state.withdraw(desk_id, DELETED, "the answer was deleted at the desk")

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        tables = state.tables()
        writer.write_table("annotations", tables["annotations"], ANNOTATIONS)
        writer.write_table("answers", tables["answers"], ANSWERS)
        writer.write_table("records", tables["records"], DESK_RECORDS)
        report = report_on(tables["annotations"], tables["answers"], seed=config.seed)
        refused = report.resolution.refused.to_pylist()
        tables["quarantine"] = _distinct([*tables["quarantine"].to_pylist(), *refused])
        writer.write_table("quarantine", tables["quarantine"], QUARANTINE)
        write_report(writer, report, title=f"Answers of people about {release}")
        return _metrics(tables, news) | report.metrics()

    return build(
        context,
        name=f"{STAGE}/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs=_inputs(context.store, state.records()),
        fingerprint={"answers": _digest(state.records())},
        produce=produce,
    )


@dataclass(frozen=True, kw_only=True)
class _Past:
    """What the previous version holds."""

    tables: Mapping[str, pa.Table]
    cursor: str | None = None

    @classmethod
    def of(cls, store: DatasetStore, ref: DatasetRef | None) -> "_Past":
        if ref is None:
            return cls(tables={name: schema.empty_table() for name, schema in _TABLES.items()})
        dataset = store.open(ref)
        tables = {name: dataset.table(name).cast(schema) for name, schema in _TABLES.items()}
        return cls(tables=tables, cursor=str(dataset.manifest.metrics["cursor"]))

    @property
    def known(self) -> dict[str, datetime]:
        """Answers that were looked at and are still there, with their last change."""
        found: dict[str, datetime] = {}
        for row in self.tables["records"].select(["desk_id", "outcome", "updated_at"]).to_pylist():
            if row["outcome"] == DELETED:
                found.pop(row["desk_id"], None)
            else:
                found[row["desk_id"]] = row["updated_at"]
        return found


_TABLES = {"annotations": ANNOTATIONS, "answers": ANSWERS, "records": DESK_RECORDS, "quarantine": QUARANTINE}
_Reading = Row | UnreadableAnswerError


@dataclass
class _State:
    """The previous version and what came since."""

    past: _Past
    annotations: list[Row] = field(default_factory=list)
    answers: list[Row] = field(default_factory=list)
    new_records: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._latest: dict[str, Row] = {}
        self._revisions: Counter[tuple[str, str]] = Counter()
        self._decided: dict[str, list[str]] = {}
        rows = self.past.tables["answers"].select(["desk_id", "revision", "decides_on"]).to_pylist()
        for row in sorted(rows, key=lambda row: int(row["revision"])):
            self._decided[row["desk_id"]] = row["decides_on"]
        for row in self.past.tables["records"].to_pylist():
            self._note(row)

    def add(self, answer: DeskAnswer, reading: _Reading, release: str) -> None:
        """Take one answer, or say why not."""
        before = self._latest.get(answer.desk_id)
        outcome = reading.reason if isinstance(reading, UnreadableAnswerError) else TAKEN
        outcome = SKIPPED if answer.is_withdrawn else outcome
        now = _record(answer, outcome=outcome)
        is_theirs = before is not None and all(before[name] == now[name] for name in ("document_id", "annotator"))
        is_same = before is not None and is_theirs and all(before[name] == now[name] for name in ("outcome", "payload"))
        if is_same and (outcome != TAKEN or self._decided[answer.desk_id] == list(answer.decides_on)):
            return  # touched, but says what it said, and of the same answers
        if answer.is_withdrawn:
            self.withdraw(answer.desk_id, SKIPPED, "the person skipped the document", answer=answer)
        elif isinstance(reading, UnreadableAnswerError):
            self._refuse(answer, reading, release)
        else:
            if before is not None and before["outcome"] == TAKEN and not is_theirs:
                self.withdraw(answer.desk_id, DELETED, "it is another person's, or about another document, now")
            self._take(answer, reading)

    def withdraw(self, desk_id: str, outcome: str, detail: str, *, answer: DeskAnswer | None = None) -> None:
        """Let an answer count no more; what it said stays in records and quarantine."""
        row = self._latest.get(desk_id)
        if answer is not None:
            row = _record(answer, outcome=outcome)
        if row is None:
            return
        self.withdrawn.add(desk_id)
        self._note(row | {"outcome": outcome, "revision": None}, is_new=True)
        self._quarantine(row, outcome, f"{detail}; it no longer counts.", source=f"{row['annotator']} at the desk")

    def records(self) -> pa.Table:
        """Everything that the desk ever said."""
        return pa.concat_tables([self.past.tables["records"], conform(self.new_records, DESK_RECORDS)])

    def tables(self) -> dict[str, pa.Table]:
        """The four tables of the new version."""
        past = self.past.tables
        answers = past["answers"]
        gone = pc.is_in(answers.column("desk_id"), value_set=pa.array(sorted(self.withdrawn), pa.string()))
        dropped = {_key(row) for row in answers.filter(gone).to_pylist()}
        stay = pa.array([_key(row) not in dropped for row in past["annotations"].select(_KEY).to_pylist()], pa.bool_())
        return {
            "annotations": pa.concat_tables([past["annotations"].filter(stay), conform(self.annotations, ANNOTATIONS)]),
            "answers": pa.concat_tables([answers.filter(pc.invert(gone)), conform(self.answers, ANSWERS)]),
            "records": self.records(),
            "quarantine": _distinct([*past["quarantine"].to_pylist(), *self.quarantine]),
        }

    def _take(self, answer: DeskAnswer, reading: Row) -> None:
        assert answer.key is not None
        document_id = answer.key.document_id
        self._revisions[document_id, answer.annotator] += 1
        revision = self._revisions[document_id, answer.annotator]
        key = {
            "document_id": document_id,
            "annotator": answer.annotator,
            "revision": revision,
            "desk_id": answer.desk_id,
            "created_at": answer.updated_at,
        }
        said = dict(reading)
        why = said.pop("why")
        self.annotations.append(key | {"source": "human"} | said)
        self.answers.append(
            key
            | {
                "queue": answer.key.queue,
                "lead_seconds": answer.lead_seconds,
                "why": why,
                "decides_on": list(answer.decides_on),
            }
        )
        self._note(_record(answer, outcome=TAKEN, revision=revision), is_new=True)

    def _refuse(self, answer: DeskAnswer, error: UnreadableAnswerError, release: str) -> None:
        row = _record(answer, outcome=error.reason)
        self._note(row, is_new=True)
        source = str(answer.key) if answer.key else f"{release}, of no task of ours"
        self._quarantine(row, error.reason, f"{error} Mend the answer at the desk.", source=source, field=error.field)

    def _quarantine(self, row: Row, reason: str, detail: str, *, source: str, field: str | None = None) -> None:
        self.quarantine.append(
            {
                "record": row["desk_id"],
                "source": source,
                "field": field,
                "reason": reason,
                "detail": detail,
                "payload": canonical_json({name: row[name] for name in ("annotator", "updated_at", "payload")}),
            }
        )

    def _note(self, row: Row, *, is_new: bool = False) -> None:
        self._latest[row["desk_id"]] = row
        if row["outcome"] == TAKEN:
            key = (row["document_id"], row["annotator"])
            self._revisions[key] = max(self._revisions[key], row["revision"])
        if is_new:
            self.new_records.append(row)


_KEY = ["document_id", "annotator", "revision"]


def _key(row: Row) -> tuple[str, str, int]:
    return row["document_id"], row["annotator"], row["revision"]


def _distinct(rows: Iterable[Row]) -> pa.Table:
    found = {canonical_json(row): row for row in rows}
    return conform(found.values(), QUARANTINE)


def _record(answer: DeskAnswer, *, outcome: str, revision: int | None = None) -> Row:
    return {
        "desk_id": answer.desk_id,
        "document_id": answer.key.document_id if answer.key else None,
        "annotator": answer.annotator,
        "email": answer.email,
        "revision": revision,
        "outcome": outcome,
        "lead_seconds": answer.lead_seconds,
        "created_at": answer.created_at,
        "updated_at": answer.updated_at,
        "corpus": answer.corpus,
        "payload": answer.payload,
    }


def _read_all(
    context: StageContext,
    desk: Desk,
    release: str,
    answers: Sequence[DeskAnswer],
    config: HumanAnnotationsConfig,
) -> list[tuple[DeskAnswer, _Reading]]:
    """Each answer with what it says, in the order given; pages come from the corpus that the task was made from."""
    by_corpus: dict[str, list[int]] = {}
    readings: list[_Reading] = [
        answer.problem
        or UnreadableAnswerError("foreign_task", "the answer is not about a task that we sent for this release.")
        for answer in answers
    ]
    for index, answer in enumerate(answers):
        if answer.key is not None and answer.key.release == release and answer.problem is None:
            by_corpus.setdefault(answer.corpus, []).append(index)
    done = 0
    for corpus, indices in sorted(by_corpus.items()):
        wanted = {answers[index].key.document_id for index in indices if answers[index].key}  # type: ignore[union-attr]
        pages = _pages(context.store, corpus, wanted, size=config.batch_documents)
        for index in indices:
            readings[index] = _read(desk, answers[index], pages)
        done += len(indices)
        context.progress("reading answers", done=done, total=len(answers))
    return list(zip(answers, readings, strict=True))


def _read(desk: Desk, answer: DeskAnswer, pages: Mapping[str, tuple[str | None, list[Page]]]) -> _Reading:
    assert answer.key is not None
    if answer.key.document_id not in pages:
        return UnreadableAnswerError(
            "unknown_document",
            f"{answer.key.document_id} is not in {answer.corpus or 'any corpus'}.",
            field="document_id",
        )
    language, own = pages[answer.key.document_id]
    try:
        reading = desk.read(answer, own, language=language)
        key = {"document_id": answer.key.document_id, "annotator": answer.annotator, "revision": 1, "source": "human"}
        conform([key | reading], ANNOTATIONS)
    except UnreadableAnswerError as error:
        return error
    except (pa.ArrowException, ValueError, OverflowError) as error:  # a lone surrogate, a number beyond its column
        return UnreadableAnswerError("garbled", f"it does not fit the tables: {str(error)[:200]}.")
    return reading


def _pages(store: DatasetStore, corpus: str, ids: set[str], *, size: int) -> dict[str, tuple[str | None, list[Page]]]:
    """Language and pages by document; empty where the corpus is not here."""
    ref = _ref(store, corpus)
    if ref is None:
        return {}
    wanted = pc.field("document_id").isin(pa.array(sorted(ids)))
    documents = store.open(ref).scan("documents").to_table(columns=["document_id", "language"], filter=wanted)
    documents = documents.append_column("input", pa.array([ref.name] * documents.num_rows, pa.string()))
    return {
        row["document_id"]: (row["language"], pages)
        for rows, many in documents_with_pages(store, documents, {ref.name: ref}, size=size)
        for row, pages in zip(rows, many, strict=True)
    }


def _ref(store: DatasetStore, corpus: str) -> DatasetRef | None:
    try:
        ref = DatasetRef.parse(corpus)
    except ValueError:
        return None
    return ref if store.find(ref) is not None else None


def _inputs(store: DatasetStore, records: pa.Table) -> dict[str, DatasetRef]:
    taken = records.filter(pc.equal(records.column("outcome"), TAKEN))
    refs = {corpus: _ref(store, corpus) for corpus in sorted(set(taken.column("corpus").to_pylist()))}
    return {corpus: ref for corpus, ref in refs.items() if ref is not None}


def _digest(records: pa.Table) -> str:
    lines = sorted(canonical_json(row) for row in records.to_pylist())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _metrics(tables: Mapping[str, pa.Table], news: News) -> dict[str, Any]:
    answers = tables["answers"]
    reasons = Counter(tables["quarantine"].column("reason").to_pylist())
    by_queue = Counter(answers.column("queue").to_pylist())
    return {
        "documents": len(set(answers.column("document_id").to_pylist())),
        "answers": answers.num_rows,
        "annotators": len(set(answers.column("annotator").to_pylist())),
        "answers_new": len(news.answers),
        "withdrawn": reasons[DELETED] + reasons[SKIPPED],
        "quarantined_answers": sum(reasons.values()) - reasons[DELETED] - reasons[SKIPPED],
        **{f"answers_{queue}": count for queue, count in sorted(by_queue.items())},
        "cursor": news.cursor,
    }
