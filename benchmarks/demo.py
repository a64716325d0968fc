"""Seconds of the demo's stages: a run that finds everything up to date beside the run that built it.

Belongs here: the seconds profile from sources to memory, in a home of its own. What single engines cost beside their
rivals is measured in modules of their own (`synthetic`, `pmg`, `imports`).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, lower_is_better

ROOT = Path(__file__).parent.parent
RUNS = 3


def run() -> dict[str, Measure]:
    """Seconds by asset and in all: median of the runs that reuse, against the first, which builds."""
    with tempfile.TemporaryDirectory(prefix="sap_llm_demo_") as home:
        built = demo(Path(home))
        reused = [demo(Path(home)) for _ in range(RUNS)]
    assert all(report["built"] == 0 for report in reused), "a later run built something"
    measures = {"demo_seconds_profile": _measure(built["seconds"], [report["seconds"] for report in reused])}
    for asset, seconds in built["stage_seconds"].items():
        again = [report["stage_seconds"][asset] for report in reused]
        measures[f"demo_{asset}"] = _measure(seconds, again)
    return measures


def demo(home: Path) -> dict[str, Any]:
    """One demo in a process of its own; returns its report."""
    variables = {"SAP_LLM_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    command = [sys.executable, "-m", "sap_llm_dagster.demo", "--profile", "seconds", "--quiet"]
    subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads((home / "data/local/demo_report.json").read_text())
    return report


def _measure(built: float, reused: list[float]) -> Measure:
    ours, built = (max(0.05, seconds) for seconds in (statistics.median(reused), built))  # reports round to 0.1 s
    return lower_is_better(ours=ours, rival=built, rival_name="the same stage built from nothing", unit="s", runs=RUNS)
