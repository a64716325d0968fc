"""The local engine's process: one for all, gone when idle, and no committed row lost when it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sap_llm.graph.engine_folder import EngineFolder
from sap_llm.graph.local_engine import open_local_graph

pytestmark = pytest.mark.slow

WRITER = """
import sys
from pathlib import Path
from sap_llm.graph.local_engine import open_local_graph
with open_local_graph(Path(sys.argv[1]), idle_seconds=float(sys.argv[3])) as graph:
    graph.write("CREATE (:Mark {by: $by})", by=sys.argv[2])
    endpoint = graph.endpoint()
    print(endpoint.engine_pid, endpoint.port)
"""


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "graph"
    yield path
    endpoint = EngineFolder(path).endpoint()
    if endpoint is not None and not is_gone(endpoint.supervisor_pid):
        os.kill(endpoint.supervisor_pid, signal.SIGTERM)
        assert until(lambda: is_gone(endpoint.supervisor_pid))


def write_mark(folder: Path, name: str, idle_seconds: float = 20) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder), name, str(idle_seconds)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_processes_that_race_share_one_engine_and_its_data_survive_the_idle_end(folder: Path) -> None:
    writers = [write_mark(folder, str(number), idle_seconds=4) for number in range(3)]
    answers = [writer.communicate(timeout=90)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(set(answers)) == 1, "one engine, one port"
    engine = int(answers[0].split()[0])
    assert until(lambda: is_gone(engine), 30), "nobody is connected, so it ends"
    assert EngineFolder(folder).endpoint() is None
    with open_local_graph(folder, idle_seconds=2) as graph:
        assert graph.read("MATCH (m:Mark) RETURN m.by AS by ORDER BY by") == [{"by": "0"}, {"by": "1"}, {"by": "2"}]
        assert graph.endpoint().engine_pid != engine
        time.sleep(5)
        assert graph.read("RETURN 1 AS one"), "an open connection keeps it"
        assert graph.endpoint().engine_pid != engine


def test_password_is_generated_and_private(folder: Path) -> None:
    with open_local_graph(folder, idle_seconds=20) as graph:
        graph.ping()
        files = EngineFolder(folder)
        assert len(files.password) >= 24
        for path in (files.password_file, files.endpoint_file):
            assert path.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        endpoint = graph.endpoint()
        for pid in (endpoint.engine_pid, endpoint.supervisor_pid):
            assert files.password not in " ".join(psutil.Process(pid).cmdline())
        listening = [
            item.laddr
            for item in psutil.Process(endpoint.engine_pid).net_connections(kind="tcp")
            if item.status == psutil.CONN_LISTEN
        ]
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_term_ends_both_processes_cleanly(folder: Path) -> None:
    with open_local_graph(folder, idle_seconds=60) as graph:
        graph.write("CREATE (:Mark {by: 'before'})")
        endpoint = graph.endpoint()
    os.kill(endpoint.supervisor_pid, signal.SIGTERM)
    assert until(lambda: is_gone(endpoint.supervisor_pid) and is_gone(endpoint.engine_pid))
    assert EngineFolder(folder).endpoint() is None
    assert "down" in EngineFolder(folder).log_tail()
    with open_local_graph(folder, idle_seconds=60) as graph:
        assert graph.read("MATCH (m:Mark) RETURN m.by AS by") == [{"by": "before"}]


def test_engine_dies_with_its_killed_supervisor(folder: Path) -> None:
    with open_local_graph(folder, idle_seconds=60) as graph:
        graph.write("CREATE (:Mark {by: 'before'})")
        endpoint = graph.endpoint()
    os.kill(endpoint.supervisor_pid, signal.SIGKILL)
    assert until(lambda: is_gone(endpoint.engine_pid)), "no Java process stays behind"
    with open_local_graph(folder, idle_seconds=60) as graph:
        assert graph.read("MATCH (m:Mark) RETURN m.by AS by") == [{"by": "before"}]


def test_killed_engine_loses_no_committed_row_and_an_open_client_goes_on(folder: Path) -> None:
    with open_local_graph(folder, idle_seconds=60) as graph:
        graph.schema("CREATE CONSTRAINT mark_id IF NOT EXISTS FOR (m:Mark) REQUIRE m.id IS UNIQUE")
        for round_number in range(3):
            rows = [{"id": f"{round_number}-{number}"} for number in range(500)]
            graph.write_rows("UNWIND $rows AS row MERGE (:Mark {id: row.id})", rows, batch_size=100)
            os.kill(graph.endpoint().engine_pid, signal.SIGKILL)  # right after the commit
            assert graph.read("MATCH (m:Mark) RETURN count(m) AS n") == [{"n": 500 * (round_number + 1)}]
            assert graph.read("MATCH (m:Mark {id: $id}) RETURN count(m) AS n", id=f"{round_number}-499") == [{"n": 1}]


def test_both_killed_at_once_and_a_new_client_starts_over(folder: Path) -> None:
    with open_local_graph(folder, idle_seconds=60) as graph:
        graph.write("CREATE (:Mark {by: 'before'})")
        endpoint = graph.endpoint()
    os.kill(endpoint.supervisor_pid, signal.SIGKILL)
    os.kill(endpoint.engine_pid, signal.SIGKILL)
    with open_local_graph(folder, idle_seconds=60) as graph:
        assert graph.read("MATCH (m:Mark) RETURN m.by AS by") == [{"by": "before"}]
