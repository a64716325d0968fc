"""How long a fresh process takes until the definitions are there.

Every step process, sensor daemon and `dg` command pays this. Rivals: the same definitions in a location that imports
its heavy libraries at the top of its modules, and `import dagster` alone (the floor: that ratio can only come near 1).
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Measure, duel, lower_is_better

ROOT = Path(__file__).parent.parent
RUNS = 3
HEAVY = ("torch", "transformers", "pyspark.sql", "great_expectations", "mlflow", "onnxruntime")
OURS = "from sap_llm_dagster.definitions import defs; defs()"
DAGSTER = "import dagster"


def run() -> dict[str, Measure]:
    """Seconds of a fresh process, interpreter start included."""
    eager = "; ".join(f"import {name}" for name in HEAVY)
    return {
        "definitions_loaded_vs_heavy_imports_at_top": compare(
            f"{eager}; {OURS}", "heavy libraries imported at the top"
        ),
        "definitions_loaded_vs_bare_dagster_floor": compare(DAGSTER, "import dagster, nothing else"),
    }


def compare(rival: str, rival_name: str) -> Measure:
    """Our definitions against another program, in turns."""
    ours, other = duel(process(OURS), process(rival), runs=RUNS)
    sys.stdout.write(f"ours: {ours}\n{rival_name}: {other}\n")
    return lower_is_better(
        ours=round(ours.median, 3), rival=round(other.median, 3), rival_name=rival_name, unit="s", runs=RUNS
    )


def process(program: str) -> Callable[[], object]:
    """A call that runs `program` in a fresh interpreter; as a file, since some libraries refuse to load under `-c`."""

    def call() -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{program}\nprint('loaded')\n")
            file.flush()
            done = subprocess.run(
                [sys.executable, "-W", "ignore", file.name], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
            )
        assert "loaded" in done.stdout.split(), f"{program} ended early"

    return call
