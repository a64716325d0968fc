"""Late rows: finished months of QorSync in which something changed are exported again.

Belongs here: one indexed look at the relational store by cursor, and the requests. The running month is exported every
night (`jobs.lineage`); what an export reads and what it takes over is `sap_llm.sources.qorsync`.
"""

import json

import dagster as dg

from jobs.lineage import export_sources
from resources.deployment import DeploymentResource
from sap_llm.sources.qorsync import late_months

_LOOK_EVERY_SECONDS = 600
_MONTHS_A_TICK = 6  # the others wait in the cursor


@dg.sensor(
    job=export_sources,
    minimum_interval_seconds=_LOOK_EVERY_SECONDS,
    description="Asks QorSync which months changed since the cursor, and exports finished ones again. The first look "
    "takes all finished months that hold rows; an export that finds nothing new is reused.",
)
def late_rows_sensor(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SensorResult:
    """Request at most a few months, oldest first, or say why none."""
    house = deployment.load()
    if not house.has_qorsync:
        return dg.SensorResult(skip_reason="No QorSync source: the profile's relational store is not there.")
    seen = json.loads(context.cursor) if context.cursor else {"latest": None, "waiting": {}}
    changed = house.qorsync_months(seen["latest"])
    latest = max([state.latest for state in changed], default=seen["latest"])
    waiting = seen["waiting"] | late_months(changed, now=house.clock.now(), first_month=house.first_month)
    chosen = sorted(waiting)[:_MONTHS_A_TICK]
    cursor = json.dumps({"latest": latest, "waiting": {name: waiting[name] for name in sorted(waiting)[len(chosen) :]}})
    if not chosen:
        return dg.SensorResult(skip_reason=f"No finished month changed since {seen['latest']}.", cursor=cursor)
    requests = [
        dg.RunRequest(run_key=f"late-{name}-{waiting[name]}", partition_key=name, tags={"watermark": waiting[name]})
        for name in chosen
    ]
    return dg.SensorResult(run_requests=requests, cursor=cursor)
