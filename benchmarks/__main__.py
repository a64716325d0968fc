"""Runs benchmarks: `python -m benchmarks [NAME ...]`, without a name all of them.

A benchmark is a module beside this one with `run() -> dict[str, Measure]`; programs for a GPU, named `gpu_`, run by
themselves. Its result goes to `results/<name>.json`, and a dated section with machine and versions is appended to
RESULTS.md. Nothing is measured here.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Measure
from sap_llm.schema.errors import ConfigurationError, SapLlmError

FOLDER = Path(__file__).parent
HELPERS = {"__main__", "measure", "preparation_data", "rivals", "surrogate"}
VERSIONS = ("dagster", "torch", "onnxruntime", "pyarrow", "pyspark", "typst")


def names() -> list[str]:
    """All benchmarks that there are."""
    modules = (path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith(("gpu_", "__init__")))
    return sorted(name for name in modules if name not in HELPERS)


def run(name: str) -> dict[str, Measure]:
    """Run one benchmark and file its result.

    Raises:
        ConfigurationError: There is no benchmark of that name.
    """
    if name not in names():
        raise ConfigurationError(f"no benchmark {name!r}", where=str(FOLDER), remedy=f"There are {', '.join(names())}.")
    measures: dict[str, Measure] = importlib.import_module(f"benchmarks.{name}").run()
    results = FOLDER / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
    with (FOLDER / "RESULTS.md").open("a", encoding="utf-8") as stream:
        stream.write(section(name, measures))
    return measures


def section(name: str, measures: dict[str, Measure]) -> str:
    """The dated Markdown section of one result."""
    head = [
        f"\n## {name}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n",
        f"{machine()}\n",
        "| measure | ours | rival | unit | ratio | runs |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {label} | {one['ours']:.4g} | {one['rival']:.4g} ({one['rival_name']}) | {one['unit']} "
        f"| {one['ratio']:.2f} | {one['runs']} |"
        for label, one in measures.items()
    ]
    return "\n".join(head + rows) + "\n"


def machine() -> str:
    """Cores, memory, load, commit and versions, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = [f"{name} {importlib.metadata.version(name)}" for name in VERSIONS if _is_installed(name)]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=FOLDER, capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f} before the last run, "
        f"Python {platform.python_version()}, {', '.join(found)}, commit {commit or 'unknown'}."
    )


def processor() -> str:
    """Model name of the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all; 1 if one could not run."""
    failed = 0
    for name in arguments or names():
        try:
            measures = run(name)
        except SapLlmError as error:
            sys.stderr.write(f"{name}: {error}\n")
            failed = 1
            continue
        sys.stdout.write(section(name, measures))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
