"""How far the job is, told every few seconds: on its output, and to Dagster Pipes where that launched it.

Belongs here: reading Spark's counters and telling them. Who listens is `launch` (a line's `MARK`) or the asset that
opened the Pipes session; the job itself never waits for either.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.accumulators import Accumulator

PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"
MARK = "progress "
_SECONDS = 1.0

Tell = Callable[[Mapping[str, Any]], None]


def said(point: Mapping[str, Any]) -> tuple[str, int, int]:
    """A point as message, documents done and total."""
    tasks = f" ({point['tasks_done']} of {point['tasks']} tasks of this step)" if point["tasks"] else ""
    return f"documents described by Spark{tasks}", point["documents_done"], point["documents"]


@contextmanager
def listener() -> Iterator[Tell]:
    """Whom to tell: Dagster where its Pipes launched this process, else whoever reads our output."""
    if PIPES_VARIABLE not in os.environ:
        yield lambda point: print(MARK + json.dumps(point), flush=True)
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        yield lambda point: pipes.report_custom_message(dict(point))


@contextmanager
def told(context: "SparkContext", described: "Accumulator[int]", *, total: int, tell: Tell) -> Iterator[None]:
    """While the block runs, tell how many documents of `total` are described and how far the running stages are.

    Spark adds up when a task ends, so the count goes in steps; a task that is run again may count twice.
    """
    is_over = threading.Event()

    def point() -> dict[str, int]:
        tracker = context.statusTracker()
        stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
        return {
            "documents_done": min(described.value, total),
            "documents": total,
            "tasks_done": sum(stage.numCompletedTasks for stage in stages if stage),
            "tasks": sum(stage.numTasks for stage in stages if stage),
        }

    def repeat() -> None:
        while not is_over.wait(_SECONDS):
            tell(point())

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    tell(point())
