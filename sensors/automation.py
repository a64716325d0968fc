"""The sensor that evaluates the assets' automation conditions.

Belongs here: its name and cadence. The conditions stand on the assets (`resources.conditions`).
"""

import dagster as dg

automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    description="Compresses, registers and remembers a release once its inputs are new and their gates passed.",
    minimum_interval_seconds=60,
)
