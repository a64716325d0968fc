"""The desk that is a Label Studio server.

Belongs here: projects, pictures, tasks and polling through its SDK. What results look like is `regions` and
`region_answers`, the labelling configuration is `labelling_config`.

A project holds the tasks of one release, queue and number of annotators, because the server knows the number of wanted
answers by project only. Pages are uploaded as PNG files and tasks name them: the server shows them from its own storage
(a disk, or the object storage that it is set up with) to whoever may see the project. Data URIs in the task would put
every page into the database and into every answer of the task list; local files and cloud storages would need a place
that server and sender both mount.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, wraps
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from sap_llm.annotation.desk import (
    DeskAnswer,
    DeskTask,
    DeskUnavailableError,
    News,
    QueueStatus,
    TaskKey,
    canonical_json,
)
from sap_llm.annotation.labelling_config import labelling_config
from sap_llm.annotation.region_answers import from_results
from sap_llm.annotation.regions import to_results
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from label_studio_sdk import LabelStudio

    Method = TypeVar("Method", bound=Callable[..., Any])

_TITLE = re.compile(r"SAP_LLM (?P<release>\S+) (?P<queue>\w+) x(?P<annotators>\d+)")
_LONGEST_TITLE = 50  # the server's limit
_TASK_FIELDS = "id,data,updated_at,annotations"
_OVERLAP = timedelta(minutes=5)  # an answer is stamped before its transaction ends
_PAGE_TASKS = 500
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # the only form that the server's filter reads


def _reachable(method: "Method") -> "Method":
    """Say in a sentence what the network or the server refused."""

    @wraps(method)
    def asked(self: "LabelStudioDesk", *args: Any, **kwargs: Any) -> Any:
        from label_studio_sdk.core.api_error import ApiError

        try:
            return method(self, *args, **kwargs)
        except ApiError as error:
            said = f"it answered {error.status_code}: {str(error.body)[:300]}"
            raise DeskUnavailableError(said, where=self.name, remedy=_remedy(error.status_code)) from error
        except httpx.HTTPError as error:
            said = f"Label Studio does not answer ({type(error).__name__}: {error})"
            remedy = "Start it (`make label-studio`), or wait until it is back."
            raise DeskUnavailableError(said, where=self.name, remedy=remedy) from error

    return asked  # type: ignore[return-value]


def _remedy(status: int | None) -> str:
    if status in {401, 403}:
        return "Check the access token (LABEL_STUDIO_API_KEY)."
    return "Look into the server's log."


class LabelStudioDesk:
    """Label Studio at an address, on behalf of the owner of a token."""

    shows_pictures = True

    def __init__(self, url: str, *, token: str, timeout_seconds: float = 120.0) -> None:
        self.name = f"Label Studio at {url}"
        self._url, self._token, self._timeout_seconds = url.rstrip("/"), token, timeout_seconds

    @_reachable
    def keys(self, release: str) -> set[TaskKey]:
        """Tasks of a release; of two with one key, which a killed sender can leave, the one without answers goes."""
        twins: dict[TaskKey, list[Any]] = {}
        for project in self._projects(release):
            for task in self._tasks(project.id):
                if (key := _key(task.data, project)) is not None:
                    twins.setdefault(key, []).append(task)
        for tasks in twins.values():
            _, *others = sorted(tasks, key=lambda task: (not task.annotations, task.id))
            for other in others:
                self._remove_unused(other.id)
        return set(twins)

    @_reachable
    def post(self, tasks: Sequence[DeskTask]) -> None:
        """Upload pictures, then import the tasks with their predictions in one request a project."""
        groups: dict[tuple[str, str, int], list[DeskTask]] = {}
        for task in tasks:
            groups.setdefault((task.key.release, task.key.queue, task.annotators), []).append(task)
        for (release, queue, annotators), group in groups.items():
            project = self._project(release, queue, annotators)
            bodies: list[Any] = [self._body(project, task) for task in group]
            self._client.projects.import_tasks(id=project, request=bodies)

    @_reachable
    def renew(self, release: str, decisions: Mapping[TaskKey, Sequence[str]]) -> int:
        """See `Desk.renew`; the task keeps its answer, which the senior confirms or changes."""
        changed = 0
        for project in self._projects(release):
            for task in self._tasks(project.id):
                key = _key(task.data, project)
                wanted = decisions.get(key) if key is not None else None
                if wanted is not None and list(wanted) != task.data.get("decides_on"):
                    self._client.tasks.update(id=str(task.id), data=dict(task.data) | {"decides_on": list(wanted)})
                    changed += 1
        return changed

    @_reachable
    def news(self, release: str, *, cursor: str | None, known: Mapping[str, datetime]) -> News:
        """Answers that are new or changed; see `Desk.news`.

        Only the server's clock counts. Where it was set back behind the cursor, or where a project holds another number
        of answers than were taken, everything is looked at again.
        """
        now, since = self._now(), None if cursor is None else datetime.fromisoformat(cursor)
        is_complete = since is None or now < since
        projects = self._projects(release)
        seen: dict[str, DeskAnswer] = {}
        present: set[str] = set()
        looked_at: set[int] = set()
        latest = since or datetime.fromtimestamp(0, UTC)
        for project in projects:
            for task in self._tasks(project.id, None if is_complete or since is None else since - _OVERLAP):
                looked_at.add(task.id)
                latest = max(latest, task.updated_at)
                for stub in task.annotations or []:
                    desk_id = _desk_id(task.id, stub["id"])
                    present.add(desk_id)
                    if known.get(desk_id) != datetime.fromisoformat(stub["updated_at"]):
                        seen[desk_id] = self._answer(project, task, stub["id"])
        gone = [entry for entry in known if entry not in present and (is_complete or _task_id(entry) in looked_at)]
        standing = len((known.keys() | seen.keys()) - set(gone))
        if not is_complete and standing != sum(_answers(project) for project in self._projects(release)):
            return self.news(release, cursor=None, known=known)
        ordered = sorted(seen.values(), key=lambda answer: (answer.updated_at, answer.desk_id))
        return News(answers=ordered, gone=sorted(gone), cursor=min(latest, now).isoformat(), is_complete=is_complete)

    def read(self, answer: DeskAnswer, pages: Sequence[Page], *, language: str | None) -> dict[str, Any]:
        """See `Desk.read`."""
        return from_results(json.loads(answer.payload), pages, language=language)

    @_reachable
    def mark(self, release: str) -> str:
        """Newest change and number of answers of each project: one small request a project."""
        marks = []
        for project in self._projects(release):
            query = json.dumps({"ordering": ["-tasks:updated_at"]})
            newest: Any = self._client.tasks.list(
                project=project.id, include=_TASK_FIELDS, page=1, page_size=1, query=query
            )
            stamp = next((task.updated_at.isoformat() for task in newest.items or []), "")
            marks.append(f"{project.id}:{_answers(project)}:{stamp}")
        return " ".join(sorted(marks))

    @_reachable
    def status(self) -> list[QueueStatus]:
        """All our projects."""
        return [
            QueueStatus(
                release=found["release"],
                queue=found["queue"],
                tasks=project.task_number or 0,
                answers=project.total_annotations_number or 0,
                skipped=project.skipped_annotations_number or 0,
            )
            for project in sorted(self._projects(), key=lambda project: str(project.title))
            if (found := _TITLE.fullmatch(project.title or "")) is not None
        ]

    @cached_property
    def _client(self) -> "LabelStudio":
        from label_studio_sdk import LabelStudio

        return LabelStudio(base_url=self._url, api_key=self._token, timeout=self._timeout_seconds)

    @cached_property
    def _people(self) -> dict[int, str]:
        return {int(user.id): str(user.email) for user in self._client.users.list()}

    def _now(self) -> datetime:
        response = self._http.get("/health")
        response.raise_for_status()
        return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)

    @cached_property
    def _http(self) -> httpx.Client:
        """For what the SDK lacks: uploading files, and the clock of the server."""
        return httpx.Client(base_url=self._url, auth=self._authorised, timeout=self._timeout_seconds)

    def _authorised(self, request: httpx.Request) -> httpx.Request:
        headers = self._client._client_wrapper.get_headers()  # noqa: SLF001 - renews tokens that end
        request.headers["Authorization"] = headers["Authorization"]
        return request

    def _projects(self, release: str | None = None) -> list[Any]:
        title = f"SAP_LLM {release} " if release else "SAP_LLM "
        found: Any = self._client.projects.list(title=title, page_size=_PAGE_TASKS)
        return [
            project
            for project in found
            if (match := _TITLE.fullmatch(project.title or "")) and release in {None, match["release"]}
        ]

    def _project(self, release: str, queue: str, annotators: int) -> int:
        title = f"SAP_LLM {release} {queue} x{annotators}"
        if len(title) > _LONGEST_TITLE or _TITLE.fullmatch(title) is None:
            raise ConfigurationError(
                f"{release!r} cannot be a project: its title would be {title!r}",
                where=self.name,
                remedy=f"Name releases without spaces and so that titles have at most {_LONGEST_TITLE} characters.",
            )
        found = min((project.id for project in self._projects(release) if project.title == title), default=None)
        if found is not None:
            return int(found)
        made: Any = self._client.projects.create(
            title=title,
            description=f"Release {release}: made and filled by sap-llm; a task's data name its document.",
            label_config=labelling_config(is_arbitration=queue == "seniors"),
            maximum_annotations=annotators,
            show_collab_predictions=True,
        )
        return int(made.id)

    def _tasks(self, project: int, since: datetime | None = None) -> Iterator[Any]:
        query: dict[str, Any] = {"ordering": ["tasks:id"]}  # pages stay what they are while people answer
        if since is not None:
            newer = {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime"}
            items = [newer | {"value": since.astimezone(UTC).strftime(_TIME)}]
            query["filters"] = {"conjunction": "and", "items": items}
        yield from self._client.tasks.list(
            project=project, include=_TASK_FIELDS, page_size=_PAGE_TASKS, query=json.dumps(query)
        )

    def _remove_unused(self, task: int) -> None:
        """Delete a task unless somebody has begun to answer it meanwhile."""
        now = self._client.tasks.get(id=str(task))
        if not now.annotations and not now.drafts:
            self._client.tasks.delete(id=str(task))

    def _answer(self, project: Any, task: Any, annotation_id: int) -> DeskAnswer:
        given = self._client.annotations.get(id=annotation_id)
        person = int(given.completed_by or 0)
        return DeskAnswer(
            desk_id=_desk_id(task.id, annotation_id),
            key=_key(task.data, project),
            corpus=str(task.data.get("corpus", "")),
            annotator=f"label-studio:{person}",
            email=self._people.get(person),
            lead_seconds=given.lead_time,
            created_at=given.created_at,
            updated_at=given.updated_at,
            decides_on=tuple(task.data.get("decides_on", ())),
            payload=canonical_json(given.result),
            is_withdrawn=bool(given.was_cancelled),
        )

    def _body(self, project: int, task: DeskTask) -> dict[str, Any]:
        """A task as the import wants it."""
        predictions = [
            {
                "model_version": guess["annotator"],
                "score": round(float(guess["type_confidence"]), 4),
                "result": to_results(guess, task.page_sizes),
            }
            for guess in task.guesses
        ]
        about = {"purpose": task.purpose, "priority": task.priority, "decides_on": list(task.decides_on)}
        about |= {name: task.document.get(name) for name in ("source", "language")}
        return {
            "data": {
                "pages": self._upload(project, task),
                "document_id": task.key.document_id,
                "release": task.key.release,
                "queue": task.key.queue,
                "corpus": task.corpus,
                **about,
            },
            "predictions": predictions,
        }

    def _upload(self, project: int, task: DeskTask) -> list[str]:
        """Addresses of the pages at the server; pictures that a killed sender left there are used again."""
        names = []
        for number, picture in enumerate(task.pictures, start=1):
            name = f"{sha256(picture).hexdigest()[:24]}-p{number}.png"
            names.append(name)
            if name in self._uploaded(project):
                continue
            response = self._http.post(
                f"/api/projects/{project}/import",
                params={"commit_to_project": "false"},
                files={"page": (name, picture, "image/png")},
            )
            response.raise_for_status()
            (identifier,) = response.json()["file_upload_ids"]
            self._uploaded(project)[name] = f"/data/{self._client.files.get(id=identifier).file}"
        return [self._uploaded(project)[name] for name in names]

    def _uploaded(self, project: int) -> dict[str, str]:
        """Our name of a picture -> its address; the server puts eight characters of its own in front."""
        if project not in self._uploads:
            files = self._client.files.list(id=project, all_=True)
            self._uploads[project] = {
                str(entry.file).rpartition("/")[2].partition("-")[2]: f"/data/{entry.file}" for entry in files
            }
        return self._uploads[project]

    @cached_property
    def _uploads(self) -> dict[int, dict[str, str]]:
        return {}


def _key(data: Mapping[str, Any], project: Any) -> TaskKey | None:
    """The key that a task's data say; None for tasks that somebody else put into the project."""
    match = _TITLE.fullmatch(project.title or "")
    said = {name: data.get(name) for name in ("release", "queue", "document_id")}
    if match is None or not all(isinstance(value, str) and value for value in said.values()):
        return None
    key = TaskKey(**said)  # type: ignore[arg-type]
    return key if (key.release, key.queue) == (match["release"], match["queue"]) else None


def _answers(project: Any) -> int:
    return (project.total_annotations_number or 0) + (project.skipped_annotations_number or 0)


def _desk_id(task: int, annotation: int) -> str:
    return f"label-studio:{task}:{annotation}"


def _task_id(desk_id: str) -> int:
    return int(desk_id.split(":")[1])
