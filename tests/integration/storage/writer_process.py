"""A real process that builds one dataset version, to be killed by the tests beside it.

Usage: writer_process.py ROOT_URL STORAGE_OPTIONS_JSON COUNT. Prints `ready`, waits for a line on standard input,
builds, prints `done`.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("words", pa.list_(pa.string()))])
BATCHES, ROWS, FILES = 12, 300, 10


class KilledConfig(StageConfig):
    """What the two sides agree upon."""

    count: int


def batches(count: int) -> Iterator[pa.Table]:
    """Deterministic rows in several batches, so that a kill can fall between them."""
    for number in range(BATCHES):
        ids = range(number * ROWS, (number + 1) * ROWS)
        words = [[f"{count}-{one}-{two}" for two in range(one % 7)] for one in ids]
        yield pa.table({"id": ids, "words": words}, schema=SCHEMA)


def produce(writer: DatasetWriter, count: int) -> Mapping[str, Any]:
    """Three tables and several opaque files."""
    for name in ("documents", "pages", "annotations"):
        writer.write_table(name, batches(count), SCHEMA)
    for number in range(FILES):
        writer.path(f"pictures/{number}.bin").write_bytes(bytes([number]) * 20_000)
    return {"count": count}


def build_once(root: str, options: dict[str, Any], count: int) -> BuildResult:
    """The build under test."""
    context = StageContext(store=DatasetStore(root, **options))
    config = KilledConfig(count=count)
    return build(
        context,
        name="killed/a",
        stage_version="1",
        config=config,
        produce=lambda writer: produce(writer, count),
    )


if __name__ == "__main__":
    arguments = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    DatasetStore(arguments[0], **arguments[1]).find  # noqa: B018  imports the filesystem's client before `ready`
    print("ready", flush=True)
    sys.stdin.readline()
    build_once(*arguments)
    print("done", flush=True)
