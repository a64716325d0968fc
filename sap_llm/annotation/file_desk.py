"""The desk that is a folder: tasks and answers are files, nothing to install.

Belongs here: where files lie, and which of them are answers. What an answer says is `file_answers`; whoever writes the
files (a person with an editor, a script, another tool) is outside.

`<release>/<queue>/tasks/<document id>.json` is the pre-annotation as annotation JSON, beside it the document's file. An
answer is the same JSON, corrected, under any name ending in `.json` in `<release>/<queue>/answers/`, with
`annotator_id` in its `metadata`. Changing the file is a new revision, deleting it withdraws the answer.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sap_llm.annotation.desk import (
    DeskAnswer,
    DeskTask,
    DeskUnavailableError,
    News,
    QueueStatus,
    TaskKey,
    UnreadableAnswerError,
    canonical_json,
)
from sap_llm.annotation.file_answers import from_form
from sap_llm.schema.document import DocumentForm
from sap_llm.schema.page import Page
from sap_llm.storage.whole import write_whole

TASKS_FOLDER, ANSWERS_FOLDER = "tasks", "answers"
_TASK = "task"  # key in the metadata of a task's JSON
_SUFFIXES = {"application/pdf": ".pdf", "image/png": ".png", "image/jpeg": ".jpg", "image/tiff": ".tif"}
_KEPT_CHARACTERS = 100_000  # of a file that is no JSON
_NOBODY = "unknown"

Task = dict[str, Any]


class FileDesk:
    """Tasks and answers below one folder."""

    shows_pictures = False

    def __init__(self, folder: Path) -> None:
        self.name = f"the folder {folder}"
        self._folder = folder

    def keys(self, release: str) -> set[TaskKey]:
        """Tasks of a release; a task is there once its JSON is."""
        return {
            TaskKey(release=release, queue=path.parent.parent.name, document_id=path.stem)
            for path in (self._folder / release).glob(f"*/{TASKS_FOLDER}/*.json")
            if not path.name.startswith(".")
        }

    def post(self, tasks: Sequence[DeskTask]) -> None:
        """Write the document's file, then the JSON: one of a name, so never two."""
        for task in tasks:
            folder = self._folder / task.key.release / task.key.queue
            try:
                (folder / ANSWERS_FOLDER).mkdir(parents=True, exist_ok=True)
                suffix = _SUFFIXES.get(task.document["media_type"], ".bin")
                write_whole(folder / TASKS_FOLDER / f"{task.key.document_id}{suffix}", task.content)
                form = _form(task).model_dump_json(indent=2)
                write_whole(folder / TASKS_FOLDER / f"{task.key.document_id}.json", form.encode())
            except OSError as error:
                raise DeskUnavailableError(
                    f"cannot be written ({error.strerror})", where=str(folder), remedy="Check its rights and its disk."
                ) from error

    def renew(self, release: str, decisions: Mapping[TaskKey, Sequence[str]]) -> int:
        """See `Desk.renew`."""
        changed = 0
        for key, wanted in decisions.items():
            path = self._folder / release / key.queue / TASKS_FOLDER / f"{key.document_id}.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["metadata"][_TASK]["decides_on"] != list(wanted):
                content["metadata"][_TASK]["decides_on"] = list(wanted)
                write_whole(path, json.dumps(content, indent=2).encode())
                changed += 1
        return changed

    def news(self, release: str, *, cursor: str | None, known: Mapping[str, datetime]) -> News:  # noqa: ARG002
        """See `Desk.news`; a folder is looked through whole each time, so no clock can hide anything."""
        answers, present = [], set()
        latest = datetime.fromtimestamp(0, UTC)
        for queue, path in self._files(release):
            desk_id, changed = f"file:{queue}/{path.name}", _changed(path)
            present.add(desk_id)
            latest = max(latest, changed)
            if known.get(desk_id) != changed:
                answers.append(self._answer(release, queue, path, desk_id, changed))
        ordered = sorted(answers, key=lambda answer: (answer.updated_at, answer.desk_id))
        gone = sorted(known.keys() - present)
        return News(answers=ordered, gone=gone, cursor=latest.isoformat(), is_complete=True)

    def read(self, answer: DeskAnswer, pages: Sequence[Page], *, language: str | None) -> dict[str, Any]:
        """See `Desk.read`."""
        return from_form(json.loads(answer.payload), pages, language=language)

    def mark(self, release: str) -> str:
        """Digest of the names, sizes and times of the answers."""
        files = [
            (queue, path.name, path.stat().st_mtime_ns, path.stat().st_size) for queue, path in self._files(release)
        ]
        return hashlib.sha256(repr(sorted(files)).encode()).hexdigest()[:16] if files else ""

    def status(self) -> list[QueueStatus]:
        """All releases and queues."""
        return [
            QueueStatus(
                release=folder.parent.name,
                queue=folder.name,
                tasks=len([path for path in (folder / TASKS_FOLDER).glob("*.json") if not path.name.startswith(".")]),
                answers=sum(queue == folder.name for queue, _ in self._files(folder.parent.name)),
                skipped=0,
            )
            for folder in sorted(self._folder.glob("*/*"))
            if (folder / TASKS_FOLDER).is_dir()
        ]

    def _files(self, release: str) -> Iterator[tuple[str, Path]]:
        for path in sorted((self._folder / release).glob(f"*/{ANSWERS_FOLDER}/*.json")):
            if not path.name.startswith("."):
                yield path.parent.parent.name, path

    def _answer(self, release: str, queue: str, path: Path, desk_id: str, changed: datetime) -> DeskAnswer:
        text = path.read_bytes().decode(errors="replace")
        problem = None
        try:
            content = _content(text, path.name)
        except UnreadableAnswerError as error:
            content, problem = {}, error
        about = content.get("metadata", {})
        key, task = self._task(release, queue, content.get("document_id"))
        return DeskAnswer(
            desk_id=desk_id,
            key=key,
            corpus=str(task.get("corpus", "")),
            annotator=str(about.get("annotator_id", _NOBODY)),
            lead_seconds=_number(about.get("lead_seconds")),
            created_at=min(changed, _moment(about.get("annotation_time")) or changed),
            updated_at=changed,
            decides_on=tuple(task.get("decides_on", ())),
            payload=canonical_json(content) if problem is None else text[:_KEPT_CHARACTERS],
            problem=problem,
        )

    def _task(self, release: str, queue: str, document_id: Any) -> tuple[TaskKey | None, Task]:
        """Key and task of an answer, by the document that it names; (None, {}) where we asked nothing of the kind."""
        if not isinstance(document_id, str) or Path(document_id).name != document_id:
            return None, {}
        path = self._folder / release / queue / TASKS_FOLDER / f"{document_id}.json"
        if not path.is_file():
            return None, {}
        task: Task = json.loads(path.read_text(encoding="utf-8"))["metadata"][_TASK]
        return TaskKey(release=release, queue=queue, document_id=document_id), task


def _form(task: DeskTask) -> DocumentForm:
    """The first guess as annotation JSON, an empty one where there is none."""
    empty = {"annotator": "", "type_confidence": 0.0, "fields": [], "line_items": [], "tables": []}
    about = {name: task.document.get(name) for name in ("document_id", "document_type", "document_subtype")}
    guess = task.guesses[0] if task.guesses else empty | about
    asked = {
        "release": task.key.release,
        "queue": task.key.queue,
        "corpus": task.corpus,
        "purpose": task.purpose,
        "annotators": task.annotators,
        "priority": task.priority,
        "decides_on": list(task.decides_on),
    }
    return DocumentForm.from_row(
        guess, page_sizes=task.page_sizes, language=task.document.get("language"), metadata={_TASK: asked}
    )


def _content(text: str, name: str) -> dict[str, Any]:
    """The JSON of one answer that says who gave it; raises UnreadableAnswerError."""
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError("garbled", f"{name} is no JSON ({error}); it may be cut off.") from error
    if not (isinstance(content, dict) and isinstance(content.get("metadata"), dict)):
        kind = "a list, as an export of a labelling tool is" if isinstance(content, list) else "something else"
        raise UnreadableAnswerError("garbled", f"{name} is {kind}, not one document's annotation JSON with metadata.")
    annotator = content["metadata"].get("annotator_id")
    if not (isinstance(annotator, str) and annotator.strip() and annotator.isprintable()):
        raise UnreadableAnswerError("missing_annotator", f"{name} does not say who answered: metadata.annotator_id.")
    return content


def _changed(path: Path) -> datetime:
    """Last change in microseconds, which is what tables keep."""
    return datetime.fromtimestamp(path.stat().st_mtime_ns // 1000 / 1_000_000, UTC)


def _moment(text: Any) -> datetime | None:
    """The stated time, in UTC unless it names a zone; None where it is none."""
    try:
        said = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return said if said.tzinfo else said.replace(tzinfo=UTC)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
