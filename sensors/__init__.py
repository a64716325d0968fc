"""What wakes the house on its own.

Belongs here: sensors, each one short: read what is new since the cursor, ask the domain's policy, request or explain.
The policies are in `sap_llm.learning`.
"""

import dagster as dg

from sensors.annotation import answers_sensor
from sensors.automation import automation
from sensors.exports import late_rows_sensor
from sensors.outcomes import dvc_follows_release, run_failures
from sensors.retraining import retraining_sensor
from sensors.training_alerts import training_alerts

SENSORS: list[dg.SensorDefinition] = [
    answers_sensor,
    automation,
    dvc_follows_release,
    late_rows_sensor,
    retraining_sensor,
    run_failures,
    training_alerts,
]

__all__ = ["SENSORS"]
