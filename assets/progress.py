"""Live progress of long steps, observed while they run.

Belongs here: external assets that only carry observations, so that inner loops do not spoil the plots of the real
assets. Whoever runs the step observes them (`assets.launch`).
"""

import dagster as dg

training_progress = dg.AssetSpec(
    "training_progress",
    description="Loss and speed of the training that is running or ran last. Reload the page to see newer points.",
    kinds={"pytorch"},
)
