"""kill -9 of a process that writes a dataset, 50 times at random moments: absent or complete, never in between."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import code_version, version_id
from sap_llm.storage.logical_hash import hash_rows
from sap_llm.storage.store import DatasetStore
from tests.integration.storage.writer_process import BATCHES, ROWS, KilledConfig, batches, build_once

ROUNDS = 50
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


class Target:
    """A store that the killed processes write to."""

    def __init__(self, root: str, options: dict[str, Any]) -> None:
        self.root, self.options = root, options

    def start(self, count: int) -> subprocess.Popen[str]:
        """A process that is imported and ready to build."""
        command = [sys.executable, Path(__file__).parent / "writer_process.py", self.root]
        process = subprocess.Popen(
            [*command, json.dumps(self.options), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def duration(self) -> float:
        """Seconds that one undisturbed build takes (the second of two, so that caches are warm)."""
        for count in (-2, -1):
            process = self.start(count)
            started = time.monotonic()
            process.communicate("go\n", timeout=120)
            assert process.returncode == 0
        return time.monotonic() - started


@pytest.fixture
def local(tmp_path: Path) -> Target:
    return Target(str(tmp_path / "datasets"), {})


@pytest.fixture
def object_storage() -> Iterator[Target]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        client = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
        options = {"key": "test", "secret": "test", "client_kwargs": client}
        bucket = urllib.request.Request(f"{client['endpoint_url']}/corpus", method="PUT")
        urllib.request.urlopen(bucket, timeout=30).close()
        yield Target("s3://corpus/datasets", options)
    finally:
        server.stop()


def expected_ref(count: int) -> DatasetRef:
    version = version_id("killed/a", code_version("1", KilledConfig(count=count)), {})
    return DatasetRef(name="killed/a", version=version)


def state(store: DatasetStore, count: int) -> str:
    """`absent`, or `complete` after looking at every byte that the manifest promises."""
    dataset = store.find(expected_ref(count))
    if dataset is None:
        return "absent"
    manifest = dataset.manifest
    prefix = "/".join(part for part in (store.prefix(dataset.ref), manifest.attempt) if part)
    for relative, digest in manifest.files.items():
        assert hashlib.sha256(store.filesystem.cat_file(f"{prefix}/{relative}")).hexdigest() == digest, relative
    assert len(manifest.files) == 13
    assert set(manifest.rows.values()) == {BATCHES * ROWS}
    wanted = hash_rows(batches(count))
    assert {hash_rows(dataset.batches(name)) for name in manifest.rows} == {wanted}
    return "complete"


def kill_many(target: Target) -> Counter[str]:
    """Kill a writer at `ROUNDS` moments spread over a build and a little beyond; look; let a second writer finish."""
    chance = random.Random(20260102)
    duration = target.duration()
    store = DatasetStore(target.root, **target.options)
    outcomes: Counter[str] = Counter()
    for count in range(ROUNDS):
        process = target.start(count)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep((count + chance.random()) / ROUNDS * duration * 1.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        outcomes[found := state(store, count)] += 1
        assert (expected_ref(count) in store.versions("killed/a")) == (found == "complete")
        if count % 5 == 0:  # whoever comes next is not disturbed by the remains
            build_once(target.root, target.options, count)
            assert state(store, count) == "complete"
    return outcomes


def test_kill_leaves_no_half_version_in_a_folder(local: Target) -> None:
    outcomes = kill_many(local)
    assert outcomes["absent"] >= 5, outcomes
    assert outcomes["complete"] >= 1, outcomes
    build_once(local.root, local.options, ROUNDS)
    left = [path.name for path in (Path(local.root) / "killed/a").iterdir() if path.name.startswith(".")]
    assert left == [], "scratch folders of killed writers were not swept"


def test_kill_leaves_no_half_version_on_object_storage(object_storage: Target) -> None:
    outcomes = kill_many(object_storage)
    assert outcomes["absent"] >= 5, outcomes
    assert outcomes["complete"] >= 1, outcomes


def test_two_processes_write_one_version_at_once(object_storage: Target, local: Target) -> None:
    for target in (object_storage, local):
        store = DatasetStore(target.root, **target.options)
        for count in range(3):
            rivals = [target.start(count) for _ in range(2)]
            for process in rivals:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            for process in rivals:
                process.communicate(timeout=120)
                assert process.returncode == 0
            assert state(store, count) == "complete"
            assert store.current("killed/a") == expected_ref(count)


def test_the_slower_of_two_writers_leaves_the_complete_version_alone(object_storage: Target) -> None:
    first = build_once(object_storage.root, object_storage.options, 0)
    store = DatasetStore(object_storage.root, **object_storage.options)
    writer = store.writer(first.ref)
    writer.path("pictures/0.bin").write_bytes(b"other bytes")
    adopted = store.commit(writer, first.manifest.model_copy(update={"files": {"pictures/0.bin": "0"}}))
    assert adopted.manifest == first.manifest
    assert state(store, 0) == "complete"
    assert adopted.path("pictures/0.bin").read_bytes() == bytes([0]) * 20_000
    attempts = {path.rsplit("/", 1)[-1] for path in store.filesystem.ls(store.prefix(first.ref), detail=False)}
    assert attempts == {first.manifest.attempt, "manifest.json"}
