"""kill -9 of a process that puts tasks on a desk: whoever goes on completes it, and no task is there twice."""

import subprocess

import pytest

from tests.integration.annotation.conftest import DOCUMENTS, Office
from tests.support import victim
from tests.support.desk_people import FilePeople, People, StudioPeople

ROUNDS = 6

pytestmark = pytest.mark.slow


def start(office: Office, people: People, release: str) -> subprocess.Popen[str]:
    """A sender that is imported and ready."""
    if isinstance(people, StudioPeople):
        place, token = people.server.url, people.server.token
    else:
        assert isinstance(people, FilePeople)
        place, token = str(people.folder), ""
    sender = ["-m", "tests.support.send_process", str(office.context.store.root), str(office.annotated)]
    return victim.start(*sender, place, token, release)


def test_a_killed_sender_leaves_no_task_twice_and_none_out(office: Office, people: People, release: str) -> None:
    seconds = victim.finish(start(office, people, f"{release}w"), timeout=300)
    reached = []
    for number in range(ROUNDS):
        victim.strike(start(office, people, release), after=seconds * (number + 0.5) / ROUNDS)
        reached.append(len(people.desk.keys(release)))
    assert reached == sorted(reached)  # what was there is never lost
    assert reached[0] < DOCUMENTS  # the first kill struck in the middle of it
    tasks = office.tasks(last=DOCUMENTS)
    sent = office.send(people, release, tasks)
    assert sent.posted + sent.present == DOCUMENTS
    keys = set(office.keys(release, tasks))
    assert people.desk.keys(release) == keys
    if isinstance(people, StudioPeople):
        assert [len(people.tasks(key)) for key in keys] == [1] * DOCUMENTS
    else:
        assert isinstance(people, FilePeople)
        left = [path.name for path in people.folder.rglob("*.json") if release in path.parts]
        assert len(left) == DOCUMENTS
