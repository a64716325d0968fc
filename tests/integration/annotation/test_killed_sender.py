"""kill -9 of a process that puts tasks on a desk: whoever goes on completes it, and no task is there twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.annotation.conftest import DOCUMENTS, Office
from tests.support.desk_people import People, StudioPeople

ROOT = Path(__file__).parents[3]
ROUNDS = 6

pytestmark = pytest.mark.slow


def start(office: Office, people: People, release: str) -> subprocess.Popen[str]:
    """A sender that is imported and ready."""
    place, token = ("", "")
    if isinstance(people, StudioPeople):
        place, token = people.server.url, people.server.token
    else:
        place = str(people.folder)  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "tests.support.send_process", office.context.store.root, str(office.annotated)]
    process = subprocess.Popen(
        [*command, place, token, release],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_killed_sender_leaves_no_task_twice_and_none_out(office: Office, people: People, release: str) -> None:
    whole = start(office, people, f"{release}w")
    started = time.monotonic()
    whole.communicate("go\n", timeout=300)
    seconds = time.monotonic() - started
    assert whole.returncode == 0
    reached = []
    for number in range(ROUNDS):
        process = start(office, people, release)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(seconds * (number + 0.5) / ROUNDS)
        process.send_signal(signal.SIGKILL)
        process.wait()
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
        left = [path.name for path in Path(people.folder).rglob("*.json") if release in path.parts]  # type: ignore[attr-defined]
        assert len(left) == DOCUMENTS
