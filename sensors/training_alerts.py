"""Alerts of trainings on their way to people: the log, a webhook, and the check `training_health` in the UI.

Belongs here: reading new observations of `training_alerts` by cursor and handing each on. What is an alert is
`sap_llm.training.monitor`; it is observed while the training runs (`resources.observers`).
"""

import json
from collections.abc import Sequence
from typing import Any

import dagster as dg

from resources.deployment import DeploymentResource
from resources.observers import ALERTS, HEALTH, KEYS
from sap_llm.monitoring.webhook import WebhookError

_LOOK_EVERY_SECONDS = 30
_ALERTS_A_TICK = 20  # the others wait for the next one


@dg.sensor(
    minimum_interval_seconds=_LOOK_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Hands each new observation of training_alerts on: a line in the log, a POST to the webhook of the "
    "deployment, and a failed training_health on the asset that is trained. What the webhook does not take waits for "
    "the next look.",
)
def training_alerts(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SensorResult:
    """Two indexed looks: for what log and check were not told yet, and for what the webhook was not."""
    cursor: dict[str, int] = json.loads(context.cursor) if context.cursor else {"told": 0, "sent": 0}
    told, evaluations = 0, list[dg.AssetCheckEvaluation]()
    for record in _newer_than(context, cursor["told"]):
        alert = _values(record)
        context.log.warning("%s of %s/%s: %s", *(alert[name] for name in ("kind", "asset", "partition", "explanation")))
        evaluations += _evaluations(alert)
        cursor["told"] = record.storage_id
        told += 1
    said = f"{told} alerts told" if told else "No training raised an alert since the last look"
    webhook = deployment.load().alert_webhook
    if webhook is None:
        cursor["sent"] = cursor["told"]
    else:
        try:
            for record in _newer_than(context, cursor["sent"]):
                webhook.post(_message(_values(record), record))
                cursor["sent"] = record.storage_id
        except WebhookError as error:
            context.log.warning("%s", error)
            said += f"; the webhook is tried again: {error}"
    return dg.SensorResult(asset_events=evaluations, skip_reason=f"{said}.", cursor=json.dumps(cursor, sort_keys=True))


def _newer_than(context: dg.SensorEvaluationContext, storage_id: int) -> Sequence[dg.EventLogRecord]:
    return context.instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(ALERTS), after_storage_id=storage_id),
        limit=_ALERTS_A_TICK,
        ascending=True,
    ).records


def _values(record: dg.EventLogRecord) -> dict[str, Any]:
    observation = record.event_log_entry.asset_observation
    assert observation is not None
    return {name: entry.value for name, entry in observation.metadata.items()}


def _message(alert: dict[str, Any], record: dg.EventLogRecord) -> dict[str, Any]:
    """`text` is what chat systems show; `id` tells a receiver that an alert came twice."""
    text = f"{alert['kind']} in the training of {alert['asset']}/{alert['partition']}: {alert['explanation']}"
    run = record.run_id
    return {"text": f"{text}. {alert['remedy']}", "id": record.storage_id, "run": run, "at": record.timestamp, **alert}


def _evaluations(alert: dict[str, Any]) -> list[dg.AssetCheckEvaluation]:
    """One for each partition of the run: a check knows no ranges."""
    return [
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(alert["asset"]),
            check_name=HEALTH,
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR if alert["severity"] == "error" else dg.AssetCheckSeverity.WARN,
            description=f"{alert['kind']} at step {alert['step']}: {alert['explanation']}. {alert['remedy']}",
            metadata={name: value for name, value in alert.items() if name not in {"asset", "remedy", "explanation"}},
            partition=key,
        )
        for key in str(alert["partition"]).split(KEYS)
    ]
