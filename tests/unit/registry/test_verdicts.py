"""The door: a verdict opens exactly the data version that it is about; overrides end."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sap_llm.registry.verdicts import Verdict, VerdictStore
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import ConfigurationError, GateClosedError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def verdict(*, passed: bool, data_version: str = "v1", gate: str = "quality") -> Verdict:
    return Verdict(
        gate=gate,
        data_version=data_version,
        passed=passed,
        measured={"field_f1": 0.71234},
        required={"field_f1": 0.8},
        explanation="field_f1 is 0.7123, required 0.8000",
        created_at=NOW,
    )


@pytest.fixture
def store(tmp_path: Path) -> VerdictStore:
    return VerdictStore(tmp_path, clock=FrozenClock(NOW))


def test_passing_verdict_opens_its_own_data_version_only(store: VerdictStore, tmp_path: Path) -> None:
    store.record(verdict(passed=True))
    assert store.require("v1", ["quality"], consumer="multitask_model") == {"quality": None}
    assert (tmp_path / "verdicts" / "v1" / "quality.json").is_file()
    with pytest.raises(GateClosedError, match="no verdict about data version v2"):
        store.require("v2", ["quality"], consumer="multitask_model")
    with pytest.raises(GateClosedError, match="gate leaks is closed"):
        store.require("v1", ["quality", "leaks"], consumer="multitask_model")


def test_refusal_says_the_whole_sentence(store: VerdictStore) -> None:
    store.record(verdict(passed=False))
    with pytest.raises(GateClosedError) as caught:
        store.require("v1", ["quality"], consumer="registered_model")
    sentence = str(caught.value)
    for part in (
        "registered_model is refused",
        "gate quality is closed",
        "data version v1",
        "measured field_f1 0.7123",
        "required field_f1 0.8",
        "build and judge a new version",
        "sap-llm gate override v1 quality --who",
        "--until",
    ):
        assert part in sentence


def test_a_later_verdict_replaces_the_earlier(store: VerdictStore) -> None:
    store.record(verdict(passed=False))
    store.record(verdict(passed=True))
    assert store.require("v1", ["quality"], consumer="x")
    store.record(verdict(passed=False))
    with pytest.raises(GateClosedError):
        store.require("v1", ["quality"], consumer="x")


def test_override_is_honoured_until_it_ends_and_kept_after(tmp_path: Path) -> None:
    early = VerdictStore(tmp_path, clock=FrozenClock(NOW))
    early.record(verdict(passed=False))
    entry = early.override("v1", "quality", who="ana", why="demo", until=NOW + timedelta(days=2))
    assert early.require("v1", ["quality"], consumer="x") == {"quality": entry}
    late = VerdictStore(tmp_path, clock=FrozenClock(NOW + timedelta(days=2)))
    with pytest.raises(GateClosedError, match="override by ana ended 2026-11-26"):
        late.require("v1", ["quality"], consumer="x")
    assert late.overrides("v1", "quality") == [entry]
    with pytest.raises(GateClosedError):
        early.require("v2", ["quality"], consumer="x")


@pytest.mark.parametrize(
    ("who", "why", "until"),
    [("", "reason", NOW + timedelta(days=1)), ("ana", "", NOW + timedelta(days=1)), ("ana", "reason", NOW)],
)
def test_incomplete_or_past_overrides_are_refused(store: VerdictStore, who: str, why: str, until: datetime) -> None:
    with pytest.raises(ConfigurationError):
        store.override("v1", "quality", who=who, why=why, until=until)
    assert store.overrides("v1", "quality") == []


@pytest.mark.parametrize("text", ["", "{", '{"passed": true}', "null"])
def test_damaged_verdict_opens_nothing(store: VerdictStore, tmp_path: Path, text: str) -> None:
    path = tmp_path / "verdicts" / "v1" / "quality.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(GateClosedError, match="cannot be read"):
        store.require("v1", ["quality"], consumer="x")


def test_a_verdict_moved_to_another_version_opens_nothing(store: VerdictStore, tmp_path: Path) -> None:
    store.record(verdict(passed=True))
    target = tmp_path / "verdicts" / "v2" / "quality.json"
    target.parent.mkdir()
    target.write_text((tmp_path / "verdicts" / "v1" / "quality.json").read_text())
    with pytest.raises(GateClosedError, match="about v1"):
        store.require("v2", ["quality"], consumer="x")


@pytest.mark.parametrize("name", ["../v1", "a/b", "", ".."])
def test_names_cannot_leave_the_folder(store: VerdictStore, name: str) -> None:
    with pytest.raises(ConfigurationError):
        store.find(name, "quality")
    with pytest.raises(ConfigurationError):
        store.find("v1", name)


def test_readers_never_see_half_a_verdict(store: VerdictStore) -> None:
    store.record(verdict(passed=True))
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            store.record(verdict(passed=True))

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(300):
            assert store.find("v1", "quality") == verdict(passed=True)
    finally:
        stop.set()
        thread.join()


def test_verdicts_work_on_an_object_store_url() -> None:
    store = VerdictStore("memory://registry-test", clock=FrozenClock(NOW))
    store.record(verdict(passed=False))
    entry = store.override("v1", "quality", who="ana", why="demo", until=NOW + timedelta(days=1))
    assert store.find("v1", "quality") == verdict(passed=False)
    assert store.standing_override("v1", "quality") == entry


def test_a_damaged_override_opens_nothing_and_is_named(store: VerdictStore, tmp_path: Path) -> None:
    store.override("v1", "schema", who="ana", why="demo", until=store.clock.now() + timedelta(days=1))
    (file,) = tmp_path.rglob("overrides/schema/*.json")
    file.write_text("{}")
    with pytest.raises(GateClosedError, match=file.name):
        store.require("v1", ["schema"], consumer="multitask_model")


def test_all_overrides_are_listed_in_their_order(store: VerdictStore) -> None:
    until = store.clock.now() + timedelta(days=1)
    for version, gate in (("v2", "schema"), ("v1", "money")):
        store.override(version, gate, who="ana", why="demo", until=until)
    assert {(entry.data_version, entry.gate) for entry in store.all_overrides()} == {("v2", "schema"), ("v1", "money")}
