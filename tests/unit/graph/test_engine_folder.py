"""Files of the local engine and the client's plain values, without starting anything."""

import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from neo4j.time import DateTime

from sap_llm.graph.client import GraphClient, plain
from sap_llm.graph.engine_folder import Endpoint, EngineFolder
from sap_llm.schema.errors import SourceError


def test_password_is_made_once(tmp_path: Path) -> None:
    folders = [EngineFolder(tmp_path / "graph") for _ in range(8)]
    threads = [threading.Thread(target=folder.make) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({folder.password for folder in folders}) == 1
    assert [path.name for path in folders[0].path.iterdir() if "password" in path.name] == ["password"]
    assert EngineFolder(tmp_path / "other").password_file.exists() is False


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"port": 1}'])
def test_absent_or_damaged_endpoint_is_none(tmp_path: Path, text: str | None) -> None:
    folder = EngineFolder(tmp_path)
    if text is not None:
        folder.endpoint_file.write_text(text)
    assert folder.endpoint() is None


def test_endpoint_is_published_and_withdrawn(tmp_path: Path) -> None:
    folder = EngineFolder(tmp_path)
    endpoint = Endpoint(port=7687, supervisor_pid=1, engine_pid=2)
    folder.publish(endpoint)
    assert folder.endpoint() == endpoint
    assert endpoint.uri == "bolt://127.0.0.1:7687"
    folder.withdraw()
    folder.withdraw()
    assert folder.endpoint() is None


def test_lock_excludes_other_holders(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with EngineFolder(tmp_path).locked():
            order.append("second")

    with EngineFolder(tmp_path).locked():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_times_become_aware_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    berlin = moment.astimezone(timezone(timedelta(hours=2)))
    assert plain(DateTime.from_native(berlin)) == moment
    assert plain(DateTime.from_native(berlin)).tzinfo is UTC
    assert plain(DateTime.from_native(moment.replace(tzinfo=None))) == moment
    assert plain({"a": [DateTime.from_native(moment), 1, "x"]}) == {"a": [moment, 1, "x"]}


def test_unreachable_server_is_an_error_for_people() -> None:
    client = GraphClient("bolt://127.0.0.1:1", password="x")
    client.retry_seconds = 0.1
    with pytest.raises(SourceError, match=r"bolt://127\.0\.0\.1:1.*cannot be reached.*Is the server up"):
        client.ping()
    client.close()
