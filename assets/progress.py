"""Live progress of long steps, observed while they run.

Belongs here: external assets that only carry observations, so that inner loops do not spoil the plots of the real
assets. Whoever runs the step observes them (`resources.observers`).
"""

import dagster as dg

training_progress = dg.AssetSpec(
    "training_progress",
    description="Losses, speed and hardware of the training that is running or ran last. Reload the page to see newer "
    "points.",
    kinds={"pytorch"},
)
training_alerts = dg.AssetSpec(
    "training_alerts",
    description="What went wrong in trainings, one observation an alert: spikes, numbers that are none, falling "
    "validation, stalls, memory. The sensor of the same name tells people and the check `training_health`.",
    kinds={"pytorch"},
)
