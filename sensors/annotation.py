"""Answers of people: where something changed at the desk, it is collected.

Belongs here: one cheap look at the desk by release, and the requests. What an answer becomes is
`sap_llm.annotation.human`.
"""

import json
from typing import Any

import dagster as dg

from jobs.annotation import collect_answers
from resources.deployment import DeploymentResource
from resources.partitions import RELEASE
from sap_llm.annotation.desk import Desk, DeskUnavailableError

_LOOK_EVERY_SECONDS = 300
_RELEASES_A_TICK = 5  # the others are seen at the next tick: their marks are not in the cursor yet


@dg.sensor(
    job=collect_answers,
    minimum_interval_seconds=_LOOK_EVERY_SECONDS,
    description="Asks the desk which releases have answers that are new, changed or gone since the cursor, and "
    "collects them. Collecting what was collected is reused.",
)
def answers_sensor(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SensorResult:
    """Request at most a few releases, or say why none."""
    desk = deployment.load().desk()
    cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {"requests": 0, "marks": {}}
    seen: dict[str, str] = cursor["marks"]
    known = set(context.instance.get_dynamic_partitions(RELEASE))
    try:
        marks = _marks(desk, known, seen)
    except DeskUnavailableError as error:
        return dg.SensorResult(skip_reason=f"The desk cannot be asked now. {error}", cursor=context.cursor)
    changed = sorted(name for name, mark in marks.items() if seen.get(name) != mark)[:_RELEASES_A_TICK]
    if not changed:
        asked = f"{len(marks)} releases with answers" if marks else "no answer to a task of any release yet"
        return dg.SensorResult(skip_reason=f"Nothing new at {desk.name}: {asked}.", cursor=context.cursor)
    requests = [
        # Numbered, not named by the mark: a desk may come back to a state that was collected, as after a deletion.
        dg.RunRequest(run_key=f"answers-{name}-{number}", partition_key=name, tags={"desk": desk.name[:250]})
        for number, name in enumerate(changed, start=cursor["requests"])
    ]
    marked = seen | {name: marks[name] for name in changed}
    following = {"requests": cursor["requests"] + len(changed), "marks": marked}
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(following, sort_keys=True))


def _marks(desk: Desk, known: set[str], seen: dict[str, str]) -> dict[str, str]:
    """Mark by release, of those that have answers or had some."""
    answered = {entry.release for entry in desk.status() if entry.answers or entry.skipped} | seen.keys()
    return {name: desk.mark(name) for name in sorted(answered & known)}
