"""Versions over a real DVC: pushed, deleted here, fetched again with the same logical hash; killed and interrupted."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sap_llm.schema.errors import DamagedDatasetError, DatasetNotFoundError, VersionControlError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage import deletion, versions
from sap_llm.storage.dvc_ledger import DvcLedger
from sap_llm.storage.dvc_writer import only_writer
from sap_llm.storage.store import MANIFEST, DatasetStore
from tests.support.versioned import START, documents, labelled, small

ROOT = Path(__file__).parents[3]
DVC = Path(sys.executable).with_name("dvc")
CONFIG = '[core]\n    analytics = false\n    no_scm = true\n[cache]\n    type = "reflink,hardlink,copy"\n'

pytestmark = pytest.mark.slow


class House:
    """A home folder with a DVC checkout and a store, and a remote that several houses may share."""

    def __init__(self, home: Path, remote: str, options: dict[str, str]) -> None:
        self.home, self.store = home, DatasetStore(home / "data/local/datasets")
        self.ledger = DvcLedger(home, self.store)
        (home / ".dvc").mkdir(parents=True)
        lines = "".join(f"    {key} = {value}\n" for key, value in {"url": remote, **options}.items())
        (home / ".dvc/config").write_text(
            CONFIG.replace("[core]\n", "[core]\n    remote = shared\n") + f"['remote \"shared\"']\n{lines}"
        )

    def push(self, *refs: DatasetRef) -> None:
        with only_writer(self.home, "push") as writer:
            self.ledger.push(writer, refs, remote=None)

    def pull(self, *refs: DatasetRef) -> None:
        with only_writer(self.home, "pull") as writer:
            self.ledger.pull(writer, refs, remote=None)

    def lose_everything(self) -> None:
        """What a new laptop has: the `.dvc` files and nothing else."""
        tracked = [file.with_suffix("") for file in self.home.glob("versions/**/*.dvc")]
        for folder in (self.home / "data", self.home / ".dvc/cache", self.home / ".dvc/tmp", *tracked):
            shutil.rmtree(folder, ignore_errors=True)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "sap_llm.cli", "--profile", "seconds", "data", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SAP_LLM_HOME": str(self.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`sap-llm data` in a process of its own."""
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, check=False, cwd=ROOT
        )

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """The same, in a process group that can be killed with its children."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
        )


Remote = tuple[str, dict[str, str]]


@contextmanager
def s3_server() -> Iterator[Remote]:
    """An S3 server with an empty bucket: URL and DVC options of a remote in it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        endpoint = f"http://127.0.0.1:{port}"
        reset = urllib.request.Request(
            f"{endpoint}/moto-api/reset", method="POST"
        )  # servers of a process share content
        urllib.request.urlopen(reset, timeout=30).close()
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/shared", method="PUT"), timeout=30).close()
        keys = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}
        yield "s3://shared/dvc", {"endpointurl": endpoint, **keys}
    finally:
        server.stop()


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    if request.param == "folder":
        yield str(tmp_path / "remote"), {}
        return
    with s3_server() as remote:
        yield remote


@pytest.fixture
def object_storage() -> Iterator[tuple[Remote, dict[str, Any]]]:
    """A remote, and the options of a store on the same server."""
    with s3_server() as remote:
        client = {"endpoint_url": remote[1]["endpointurl"], "region_name": "us-east-1"}
        yield remote, {"key": "test", "secret": "test", "client_kwargs": client}


@pytest.fixture
def house(tmp_path: Path, remote: Remote) -> House:
    return House(tmp_path / "home", *remote)


def test_a_checkout_of_an_old_training_set_reproduces_its_logical_hash(house: House, tmp_path: Path) -> None:
    old = labelled(house.store, documents(400))
    new = labelled(house.store, documents(401), day=1)
    assert house.call("push").returncode == 0
    house.lose_everything()
    assert house.store.find(old.ref) is None
    done = house.call("checkout", f"training_set/r1@{old.ref.version[:6]}")
    assert done.returncode == 0, done.stderr
    assert old.manifest.data_version in done.stdout.replace("\n", "")
    assert house.store.current("training_set/r1") == old.ref
    found = house.store.open(old.ref)
    assert found.manifest == old.manifest
    assert versions.logical_hash(found) == old.manifest.data_version
    assert house.store.find(new.ref) is None
    done = house.call("checkout", str(new.ref), "--to", str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert house.store.current("training_set/r1") == old.ref
    for name, sha256 in new.manifest.files.items():
        assert hashlib.sha256((tmp_path / "copy" / name).read_bytes()).hexdigest() == sha256
    difference = house.call("diff", "training_set/r1", old.ref.version[:6], new.ref.version[:6], "--json")
    assert difference.returncode == 1
    assert json.loads(difference.stdout)["tables"]["documents"]["added"] == 1
    assert house.call("diff", "training_set/r1", "nothing", "like").returncode == 2
    assert house.call("diff", str(old.ref), str(old.ref)).returncode == 0


def test_another_house_gets_what_was_pushed_by_the_dvc_files_alone(house: House, tmp_path: Path) -> None:
    refs = [small(house.store, "a/x"), labelled(house.store, documents(3)).ref]
    house.push(*refs)
    other = tmp_path / "other"
    for file in (house.home / ".dvc/config", *house.home.glob("versions/**/*.dvc")):
        target = other / file.relative_to(house.home)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    store = DatasetStore(other / "data/local/datasets")
    with only_writer(other, "pull") as writer:
        DvcLedger(other, store).pull(writer, refs, remote=None)
    assert {one.ref for one in deletion.manifests(store)} == set(refs)
    assert store.current("a/x") == refs[0]
    assert all(versions.differences(store.open(ref), store) == [] for ref in refs)


def test_deleted_by_retention_its_cache_is_freed_and_it_can_be_fetched(house: House) -> None:
    old, new = (labelled(house.store, documents(300 + day), day=day).ref for day in (0, 1))
    house.push(old, new)
    before = size(house.home / ".dvc/cache")
    deletion.hide(house.store, old, now=START)
    deletion.purge(house.store, old)
    with only_writer(house.home, "retention") as writer:
        assert house.ledger.retire(writer, [old]) > 0
    assert size(house.home / ".dvc/cache") < before
    assert house.ledger.entries()[old].is_retired
    status = subprocess.run([DVC, "status"], cwd=house.home, capture_output=True, text=True, check=True)
    assert "up to date" in status.stdout
    house.pull(old)
    assert versions.differences(house.store.open(old), house.store) == []
    assert not house.ledger.entries()[old].is_retired
    assert versions.differences(house.store.open(new), house.store) == []


def test_a_damaged_version_is_refused_and_replaced(house: House) -> None:
    ref = labelled(house.store, documents(300)).ref
    house.push(ref)
    file = Path(house.store.prefix(ref)) / "documents.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.chmod(0o644)
    file.write_bytes(content)  # in place: DVC's cache holds the same file
    file.chmod(0o444)
    with pytest.raises(DamagedDatasetError, match=r"documents\.parquet has other bytes"):
        versions.checkout(house.store, ref)
    refused = house.call("checkout", str(ref))
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    done = house.call("pull", "--replace", str(ref))
    assert done.returncode == 0, done.stderr
    assert versions.differences(house.store.open(ref), house.store) == []
    assert house.store.current(ref.name) == ref


def test_killed_pushes_and_pulls_leave_nothing_that_looks_complete_and_go_on(
    house: House, remote: Remote, tmp_path: Path
) -> None:
    twin = House(tmp_path / "twin", *remote)  # of the same size, to know how long undisturbed work takes
    for number in range(4):
        labelled(twin.store, documents(300 + number), name=f"twin/{number}")
    started = time.monotonic()
    assert twin.call("push").returncode == 0
    duration = time.monotonic() - started
    refs = [labelled(house.store, documents(200 + number), name=f"t/{number}", day=number).ref for number in range(4)]
    kept = {ref: house.store.open(ref).manifest for ref in refs}
    kill_at_moments(house, ("push",), duration, lambda: None)
    assert house.call("push").returncode == 0
    house.lose_everything()

    def look() -> None:
        for manifest in deletion.manifests(house.store):
            found = house.store.open(manifest.ref)
            assert manifest == kept[manifest.ref]
            assert versions.differences(found, house.store) == []

    kill_at_moments(house, ("pull",), duration, look)
    done = house.call("pull")  # which would miss what a push had silently left out
    assert done.returncode == 0, done.stderr
    assert {one.ref for one in deletion.manifests(house.store)} == set(refs)
    look()


def kill_at_moments(house: House, arguments: tuple[str, ...], duration: float, look: Callable[[], None]) -> None:
    """Kill the command with all its children at moments spread over its work, and look each time."""
    for share in (0.4, 0.55, 0.7, 0.8, 0.9, 1.0):
        process = house.start(*arguments)
        time.sleep(share * duration)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        look()


def test_of_two_writers_the_second_waits_or_says_who_is_at_work(house: House) -> None:
    ref = small(house.store, "a")
    with only_writer(house.home, "a long push"):
        refused = house.call("push", "--wait", "0.5")
        assert refused.returncode == 1
        said = " ".join(refused.stderr.split())
        assert "a long push" in said
        assert str(os.getpid()) in said
        assert "Traceback" not in said
        waiting = house.start("push")
        time.sleep(2.5)
        assert waiting.poll() is None
        assert not (house.home / "versions").exists()
    assert waiting.wait(timeout=120) == 0
    assert set(house.ledger.entries()) == {ref}
    both = [house.start("push"), house.start("pull")]
    assert [process.wait(timeout=120) for process in both] == [0, 0]


def test_a_killed_writer_frees_the_lock(house: House) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sap_llm.storage.dvc_writer import only_writer\n"
        "with only_writer(Path(sys.argv[1]), 'dying'):\n    print('ready', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(house.home)], env=house.environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    holder.kill()
    holder.wait()
    with only_writer(house.home, "next", wait_seconds=5):
        pass


def test_what_dvc_refuses_is_one_sentence_with_a_remedy(tmp_path: Path) -> None:
    home = House(tmp_path / "home", str(tmp_path / "remote"), {})
    (home.home / ".dvc/config").write_text(CONFIG)
    ref = small(home.store, "a")
    with pytest.raises(VersionControlError, match="dvc remote add"):
        home.push(ref)
    with pytest.raises(VersionControlError, match="dvc init"), only_writer(tmp_path, "push"):
        pass


def test_what_is_on_no_remote_cannot_be_fetched(house: House) -> None:
    ref = small(house.store, "a")
    with only_writer(house.home, "record") as writer:
        house.ledger.record(writer, [ref])
    house.lose_everything()
    with pytest.raises(VersionControlError):
        house.pull(ref)
    assert house.store.find(ref) is None
    with pytest.raises(DatasetNotFoundError):
        house.pull(DatasetRef(name="a", version="never"))


def test_half_a_dvc_file_of_a_killed_dvc_is_written_again(house: House) -> None:
    ref = small(house.store, "a")
    house.push(ref)
    file = house.home / f"versions/a/{ref.version}.dvc"
    file.write_text("outs:\n- md5: 1")
    assert house.ledger.entries() == {}
    house.push(ref)
    assert house.ledger.entries()[ref].about is not None


def test_on_object_storage_the_manifests_are_tracked(
    object_storage: tuple[Remote, dict[str, Any]], tmp_path: Path
) -> None:
    remote, options = object_storage
    house = House(tmp_path / "home", *remote)
    house.store = DatasetStore("s3://shared/datasets", **options)
    house.ledger = DvcLedger(house.home, house.store)
    ref = labelled(house.store, documents(5)).ref
    house.push(ref)
    tracked = house.home / "versions" / ref.name / ref.version
    assert [path.name for path in tracked.iterdir()] == [MANIFEST]
    deletion.hide(house.store, ref, now=START)
    assert house.store.find(ref) is None
    assert deletion.restore(house.store, ref) is not None
    assert versions.differences(house.store.open(ref), house.store) == []
    versions.checkout(house.store, ref)
    versions.export(house.store, ref, tmp_path / "copy")
    assert (tmp_path / "copy" / "documents.parquet").is_file()
    deletion.hide(house.store, ref, now=START)
    assert deletion.purge(house.store, ref)
    assert house.store.filesystem.find(f"{house.store.root}/{ref.name}") == []
    house.lose_everything()
    with pytest.raises(DatasetNotFoundError, match="only the manifest"):
        house.pull(ref)


def test_attempts_that_no_manifest_names_are_found_on_object_storage(
    object_storage: tuple[Remote, dict[str, Any]],
) -> None:
    store = DatasetStore("s3://shared/attempts", **object_storage[1])
    ref = small(store, "a/b")
    killed = f"{store.prefix(ref)}/{'0' * 32}"
    store.filesystem.pipe_file(f"{killed}/half.parquet", b"12345")
    (found,) = deletion.leftovers(store)
    assert (found.path, found.size_bytes, found.is_abandoned) == (killed, 5, False)
    assert found.modified_at > 0
    deletion.remove_leftover(store, found)
    assert deletion.leftovers(store) == []
    assert store.open(ref).table("rows").num_rows == 2


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
