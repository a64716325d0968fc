"""The desk where people answer: what any desk can be asked to do, and what goes to and comes from it.

Belongs here: the protocol and its plain data. The desks are `label_studio_desk` (a server) and `file_desk` (a folder);
which documents go there is `sending`, what becomes of the answers is `human`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sap_llm.schema.errors import SapLlmError, SourceError
from sap_llm.schema.page import Page


class DeskUnavailableError(SourceError):
    """The desk cannot be reached now, or refuses us as a whole; it may answer later."""


class UnreadableAnswerError(SapLlmError):
    """One answer cannot be used; it goes to quarantine with this reason and sentence."""

    def __init__(self, reason: str, what: str, *, field: str | None = None) -> None:
        super().__init__(what)
        self.reason, self.field = reason, field


@dataclass(frozen=True, kw_only=True)
class TaskKey:
    """What a task is about; a desk never holds two tasks of one key."""

    release: str
    queue: str
    document_id: str

    def __str__(self) -> str:
        return f"{self.release}/{self.queue}/{self.document_id}"


@dataclass(frozen=True, kw_only=True)
class DeskTask:
    """One document for one queue.

    Attributes:
        key: Release, queue and document.
        corpus: `name@version` of the dataset that holds pages and blobs; comes back with the answer.
        document: Row of `tables.DOCUMENTS`.
        purpose: One of `schema.annotation.PURPOSES`.
        annotators: Independent answers that are wanted.
        priority: Higher is asked first.
        page_sizes: Width and height in points of pages 1, 2, ...
        guesses: Rows of `tables.ANNOTATIONS` to start from: the pre-annotation; for an arbitration the answers.
        decides_on: Desk ids of the answers that an arbitration decides on.
        content: The document's file.
        pictures: One PNG a page; empty for a desk that shows none.
    """

    key: TaskKey
    corpus: str
    document: Mapping[str, Any]
    purpose: str
    annotators: int
    priority: float
    page_sizes: Sequence[tuple[float, float]]
    guesses: Sequence[Mapping[str, Any]]
    decides_on: Sequence[str]
    content: bytes
    pictures: Sequence[bytes]


@dataclass(frozen=True, kw_only=True)
class DeskAnswer:
    """One answer as it was given, not yet read.

    Attributes:
        desk_id: Identity at the desk; an answer that is changed there keeps it.
        key: The task; None where the answer does not say one of ours.
        corpus: As sent with the task; empty where it is not known.
        annotator: Person's id, stable at this desk.
        email: Where the desk knows it.
        lead_seconds: Time spent, where the desk tells.
        created_at: First given, by the desk's clock.
        updated_at: Last changed, by the desk's clock.
        decides_on: As sent with the task.
        payload: What was answered, canonical JSON.
        problem: Why it cannot be read, where the desk sees that.
        is_withdrawn: The person skipped the document: what was answered before no longer counts.
    """

    desk_id: str
    key: TaskKey | None
    corpus: str
    annotator: str
    email: str | None = None
    lead_seconds: float | None = None
    created_at: datetime
    updated_at: datetime
    decides_on: Sequence[str] = ()
    payload: str
    problem: UnreadableAnswerError | None = None
    is_withdrawn: bool = False


@dataclass(frozen=True, kw_only=True)
class News:
    """What changed at the desk since a cursor.

    Attributes:
        answers: New or changed answers, ties in a fixed order.
        gone: Desk ids of known answers that are there no more.
        cursor: Where to go on next time.
        is_complete: Everything was looked at, not only what is newer than the cursor.
    """

    answers: Sequence[DeskAnswer]
    gone: Sequence[str]
    cursor: str
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """How far one queue of a release is."""

    release: str
    queue: str
    tasks: int
    answers: int
    skipped: int


class Desk(Protocol):
    """Where people answer. Raises `DeskUnavailableError` when it cannot be reached."""

    @property
    def name(self) -> str:
        """What and where it is, for messages."""
        ...

    @property
    def shows_pictures(self) -> bool:
        """Whether people see pages as pictures there, or open the document's file themselves."""
        ...

    def keys(self, release: str) -> set[TaskKey]:
        """Tasks of a release that are there; a task that a killed sender left twice is made one."""
        ...

    def post(self, tasks: Sequence[DeskTask]) -> None:
        """Put tasks of one release there that are not yet."""
        ...

    def renew(self, release: str, decisions: Mapping[TaskKey, Sequence[str]]) -> int:
        """Tell arbitrations that are there which answers they decide on now; returns how many changed."""
        ...

    def news(self, release: str, *, cursor: str | None, known: Mapping[str, datetime]) -> News:
        """Answers that are new or changed.

        Args:
            release: The batch.
            cursor: Of the last look; None looks at everything.
            known: Desk id -> `updated_at` of the answers that were taken.
        """
        ...

    def read(self, answer: DeskAnswer, pages: Sequence[Page], *, language: str | None) -> dict[str, Any]:
        """An answer's payload as columns of `tables.ANNOTATIONS` from `document_type` on, and `why`.

        Raises:
            UnreadableAnswerError: It says something that cannot be.
        """
        ...

    def mark(self, release: str) -> str:
        """A short text that changes whenever an answer comes, changes or goes; cheap."""
        ...

    def status(self) -> list[QueueStatus]:
        """All queues of all releases."""
        ...


def canonical_json(value: Any) -> str:
    """The same text for the same content, whatever the order of its keys; ASCII, so that a table can hold any."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
