"""Dataset versions: written once, reused, complete or absent, adopted by a second writer."""

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import BLOBS
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("text", pa.string())])


class NumbersConfig(StageConfig):
    count: int = 5


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"), clock=FrozenClock(datetime(2026, 1, 2, tzinfo=UTC)))


def write_numbers(writer: DatasetWriter, count: int) -> Mapping[str, Any]:
    table = pa.table({"text": [f"row {n}" for n in range(count)], "id": range(count)})
    writer.write_table("numbers", table, SCHEMA)
    writer.path("report/summary.md").write_text(f"{count} rows")
    return {"count": count}


def build_numbers(context: StageContext, config: NumbersConfig, **arguments: Any) -> BuildResult:
    return build(
        context,
        name=arguments.pop("name", "numbers/a"),
        stage_version="1",
        config=config,
        produce=arguments.pop("produce", lambda writer: write_numbers(writer, config.count)),
        **arguments,
    )


def test_a_built_version_is_complete_and_current(context: StageContext) -> None:
    result = build_numbers(context, NumbersConfig())
    assert not result.is_reused
    manifest = result.manifest
    assert manifest.rows == {"numbers": 5}
    assert manifest.metrics == {"count": 5}
    assert manifest.created_at == datetime(2026, 1, 2, tzinfo=UTC)
    for relative, digest in manifest.files.items():
        assert hashlib.sha256(result.dataset.path(relative).read_bytes()).hexdigest() == digest
    assert set(manifest.files) == {"numbers.parquet", "report/summary.md"}
    assert result.dataset.table("numbers").column("id").to_pylist() == list(range(5))
    assert context.store.current("numbers/a") == result.ref
    assert context.store.names() == ["numbers/a"]
    assert context.store.versions("numbers/a") == [result.ref]


def test_the_same_things_are_never_built_twice(context: StageContext) -> None:
    first = build_numbers(context, NumbersConfig())

    def explode(writer: DatasetWriter) -> Mapping[str, Any]:
        raise AssertionError("produced again")

    again = build_numbers(context, NumbersConfig(), produce=explode)
    assert again.is_reused
    assert again.ref == first.ref


def test_whatever_makes_a_version_names_it(context: StageContext) -> None:
    base = build_numbers(context, NumbersConfig())
    other_input = build_numbers(context, NumbersConfig(count=2), name="input").ref
    versions = {
        base.ref.version,
        build_numbers(context, NumbersConfig(count=6)).ref.version,
        build_numbers(context, NumbersConfig(seed=8)).ref.version,
        build_numbers(context, NumbersConfig(), inputs={"source": other_input}).ref.version,
        build_numbers(context, NumbersConfig(), fingerprint={"folder": "abc"}).ref.version,
        build_numbers(context, NumbersConfig(), fingerprint={"folder": "abd"}).ref.version,
    }
    assert len(versions) == 6


def test_data_version_is_that_of_the_content(context: StageContext) -> None:
    base = build_numbers(context, NumbersConfig()).manifest.data_version
    assert build_numbers(context, NumbersConfig(seed=8)).manifest.data_version == base
    assert build_numbers(context, NumbersConfig(count=6)).manifest.data_version != base

    def other_report(writer: DatasetWriter) -> Mapping[str, Any]:
        metrics = write_numbers(writer, 5)
        writer.path("report/summary.md").write_text("five rows")
        return metrics

    assert build_numbers(context, NumbersConfig(seed=9), produce=other_report).manifest.data_version != base


def test_a_failed_build_leaves_nothing(context: StageContext) -> None:
    def fail(writer: DatasetWriter) -> Mapping[str, Any]:
        write_numbers(writer, 5)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        build_numbers(context, NumbersConfig(), produce=fail)
    assert [path for path in Path(context.store.root).rglob("*") if path.is_file()] == []
    with pytest.raises(DatasetNotFoundError, match="never built"):
        context.store.current("numbers/a")


def test_rows_that_break_the_schema_are_refused(context: StageContext) -> None:
    def wrong(writer: DatasetWriter) -> Mapping[str, Any]:
        writer.write_table("numbers", pa.table({"id": ["a"], "text": ["b"]}), SCHEMA)
        return {}

    with pytest.raises(pa.ArrowInvalid):
        build_numbers(context, NumbersConfig(), produce=wrong)


def test_a_missing_input_names_itself_and_the_remedy(context: StageContext) -> None:
    ref = DatasetRef(name="corpus/r1", version="0000000000000000")
    with pytest.raises(DatasetNotFoundError, match=r"corpus/r1/0000000000000000.*Materialise corpus"):
        build_numbers(context, NumbersConfig(), inputs={"corpus": ref})


def test_the_second_of_two_writers_adopts_the_first(context: StageContext) -> None:
    def race(writer: DatasetWriter) -> Mapping[str, Any]:
        rival = build_numbers(context, NumbersConfig())
        assert not rival.is_reused
        writer.path("report/summary.md").write_text("from the slower writer")
        return {"slower": 1}

    result = build_numbers(context, NumbersConfig(), produce=race)
    assert result.manifest.metrics == {"count": 5}
    assert result.dataset.path("report/summary.md").read_text() == "5 rows"
    assert len(list((Path(context.store.root) / "numbers/a").iterdir())) == 2  # the version and `current`


def test_an_unfinished_folder_is_not_a_version(context: StageContext) -> None:
    result = build_numbers(context, NumbersConfig())
    result.dataset.path("manifest.json").unlink()
    assert context.store.find(result.ref) is None
    assert context.store.versions("numbers/a") == []


def test_leftovers_of_dead_writers_are_swept_and_live_ones_kept(context: StageContext) -> None:
    ref = DatasetRef(name="numbers/a", version="0123456789abcdef")
    living = context.store.writer(ref).scratch
    finished = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(finished, 0)
    dead = living.with_name(living.name.replace(f"-{os.getpid()}.", f"-{finished}."))
    dead.mkdir()
    (dead / "numbers.parquet").write_bytes(b"half")
    build_numbers(context, NumbersConfig())
    assert living.exists()
    assert not dead.exists()


def test_versions_are_listed_oldest_first(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    refs = []
    for day in (3, 1, 2):
        context = StageContext(store=store, clock=FrozenClock(datetime(2026, 1, day, tzinfo=UTC)))
        refs.append(build_numbers(context, NumbersConfig(count=day)).ref)
    assert store.versions("numbers/a") == [refs[1], refs[2], refs[0]]
    assert store.current("numbers/a") == refs[2]


def test_a_reader_of_one_blob_fetches_little(context: StageContext) -> None:
    def blobs(writer: DatasetWriter) -> Mapping[str, Any]:
        rows = [{"sha256": str(n), "media_type": "x", "content": os.urandom(2**20)} for n in range(20)]
        writer.write_table("blobs", pa.Table.from_pylist(rows, schema=BLOBS), BLOBS)
        return {}

    dataset = build_numbers(context, NumbersConfig(), produce=blobs).dataset
    groups = next(iter(dataset.scan("blobs").get_fragments())).row_groups
    assert max(group.total_byte_size for group in groups) <= 8 * 2**20 + 2**16


def test_an_unknown_table_is_named_with_those_that_exist(context: StageContext) -> None:
    dataset = build_numbers(context, NumbersConfig()).dataset
    assert dataset.has_table("numbers")
    with pytest.raises(DatasetNotFoundError, match=r"no table 'pages'.*numbers"):
        dataset.table("pages")
