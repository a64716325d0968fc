"""People at a desk, for tests: they answer, change their mind and take answers back as people do there.

Belongs here: acting on each kind of desk from outside, through what a person or their tool would use (files; the
server's API under the person's own token). What must hold is said by the tests.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from label_studio_sdk import LabelStudio

from sap_llm.annotation import labelling_config as config
from sap_llm.annotation.desk import Desk, TaskKey
from sap_llm.annotation.file_desk import FileDesk
from sap_llm.annotation.label_studio_desk import LabelStudioDesk
from sap_llm.annotation.regions import to_results
from sap_llm.schema.document import DocumentForm
from tests.integration.servers.label_studio import LabelStudioServer

Row = Mapping[str, Any]
Sizes = Sequence[tuple[float, float]]


class People(Protocol):
    """Whoever answers at one desk; `who` is a name, the returned texts are ids at the desk."""

    desk: Desk

    def identity(self, who: str) -> str: ...
    def answer(self, key: TaskKey, who: str, row: Row, sizes: Sizes, *, why: str | None = None) -> str: ...
    def change(self, answer: str, row: Row, sizes: Sizes, *, why: str | None = None) -> None: ...
    def spoil(self, answer: str) -> None: ...
    def delete(self, answer: str) -> None: ...


@dataclass
class FilePeople:
    """People who write files."""

    folder: Path
    desk: FileDesk = field(init=False)
    _given: dict[str, tuple[TaskKey, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.desk = FileDesk(self.folder)

    def identity(self, who: str) -> str:
        return who

    def answer(self, key: TaskKey, who: str, row: Row, sizes: Sizes, *, why: str | None = None) -> str:
        name = f"{key.document_id}-{who}.json"
        self._given[name] = (key, who)
        self._write(name, row, sizes, why)
        return name

    def change(self, answer: str, row: Row, sizes: Sizes, *, why: str | None = None) -> None:
        self._write(answer, row, sizes, why)

    def spoil(self, answer: str) -> None:
        path = self.path(answer)
        path.write_text(path.read_text()[:200])
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 5_000_000))

    def delete(self, answer: str) -> None:
        self.path(answer).unlink()

    def path(self, answer: str) -> Path:
        key, _ = self._given[answer]
        return self.folder / key.release / key.queue / "answers" / answer

    def _write(self, name: str, row: Row, sizes: Sizes, why: str | None) -> None:
        key, who = self._given[name]
        about = {"annotator_id": who, "annotation_time": "2025-11-15T10:30:00Z", "lead_seconds": 42.0, "why": why}
        whole = {**row, "document_id": key.document_id, "annotator": who, "created_at": None}
        form = DocumentForm.from_row(whole, page_sizes=sizes, metadata=about)
        path = self.path(name)
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text(form.model_dump_json())
        if path.stat().st_mtime_ns <= before:
            os.utime(path, ns=(before + 5_000_000, before + 5_000_000))


@dataclass
class StudioPeople:
    """People who have an account at the server."""

    server: LabelStudioServer
    desk: LabelStudioDesk = field(init=False)
    _clients: dict[str, LabelStudio] = field(default_factory=dict)
    _by: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.desk = LabelStudioDesk(self.server.url, token=self.server.token)

    def identity(self, who: str) -> str:
        return f"label-studio:{self.client(who).users.whoami().id}"

    def client(self, who: str) -> LabelStudio:
        if who not in self._clients:
            token = self.server.person(f"{who}@desk.example")
            self._clients[who] = LabelStudio(base_url=self.server.url, api_key=token)
        return self._clients[who]

    def answer(self, key: TaskKey, who: str, row: Row, sizes: Sizes, *, why: str | None = None) -> str:
        return self.give(key, who, _results(row, sizes, why))

    def give(self, key: TaskKey, who: str, results: Any, **more: Any) -> str:
        """Any results at all; the server does not check them."""
        made = self.client(who).annotations.create(id=self.task(key), result=results, **({"lead_time": 42.0} | more))
        self._by[str(made.id)] = who
        return str(made.id)

    def change(self, answer: str, row: Row, sizes: Sizes, *, why: str | None = None) -> None:
        self._clients[self._by[answer]].annotations.update(id=int(answer), result=_results(row, sizes, why))

    def spoil(self, answer: str) -> None:
        broken = [{"type": "rectanglelabels", "value": {"x": "left"}}]
        self._clients[self._by[answer]].annotations.update(id=int(answer), result=broken)

    def delete(self, answer: str) -> None:
        self._clients[self._by[answer]].annotations.delete(id=int(answer))

    def task(self, key: TaskKey) -> int:
        (found,) = self.tasks(key)
        return found

    def tasks(self, key: TaskKey) -> list[int]:
        """Ids of the tasks of a key, seen with the owner's eyes."""
        found = self._owner().tasks.list(project=self.project(key), include="id,data")
        return [int(task.id) for task in found if task.data["document_id"] == key.document_id]

    def project(self, key: TaskKey) -> int:
        (project,) = self._owner().projects.list(title=f"SAP_LLM {key.release} {key.queue} ")
        return int(project.id)

    def _owner(self) -> LabelStudio:
        return LabelStudio(base_url=self.server.url, api_key=self.server.token)


def _results(row: Row, sizes: Sizes, why: str | None) -> list[dict[str, Any]]:
    results = json.loads(json.dumps(to_results(row, sizes)))
    if why is not None:
        text = {"id": "why", "type": "textarea", "from_name": config.WHY, "to_name": config.PAGE}
        results.append(text | {"value": {"text": [why]}})
    return list(results)
