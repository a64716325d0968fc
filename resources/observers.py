"""What Dagster is told of a training that runs: points of `training_progress`, alerts of `training_alerts`.

Belongs here: messages of the program -> observations. Who makes the messages is `sap_llm.training.report`, who looks
for alerts later is the sensor `training_alerts`.
"""

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from sap_llm.training.plan import TrainingPlan

PROGRESS, ALERTS = "training_progress", "training_alerts"
HEALTH = "training_health"
"""Asset check of every training asset."""
KEYS = ", "
"""Between the partition keys of a run that covers several."""
_OBSERVE_SECONDS = 30.0


class TrainingObserver:
    """Of one launch: a point at most every 30 seconds, the first and the last one; every alert at once."""

    def __init__(self, context: dg.OpExecutionContext, plan: TrainingPlan[Any]) -> None:
        self._context, self._plan, self._observed_at = context, plan, float("-inf")

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Take one message of the program."""
        if message.get("event") == "alert":
            self._alert(message)
        elif message.get("event") == "step":
            self._point(message)

    def _point(self, message: Mapping[str, Any]) -> None:
        now, is_last = time.monotonic(), message.get("step") == message.get("steps")
        if now - self._observed_at < _OBSERVE_SECONDS and not is_last:
            return
        self._observed_at = now
        numbers = {name: value for name, value in message.items() if isinstance(value, int | float)}
        self._observe(PROGRESS, f"{self._plan.name}", numbers)

    def _alert(self, message: Mapping[str, Any]) -> None:
        self._context.log.error("%s: %s. %s", message["kind"], message["explanation"], message["remedy"])
        known = {name: value for name, value in message.items() if name not in {"event", "at"}}
        metadata = {**known, "asset": self._plan.stage, "partition": KEYS.join(self._context.partition_keys)}
        self._observe(ALERTS, str(message["explanation"]), metadata)

    def _observe(self, asset: str, description: str, metadata: Mapping[str, Any]) -> None:
        self._context.log_event(dg.AssetObservation(asset, metadata=dict(metadata), description=description))
