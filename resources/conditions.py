"""When Dagster may build an asset on its own.

Belongs here: automation conditions shared by assets. The automation sensor that evaluates them is off until a person
switches it on; the doors hold whoever asks.
"""

import dagster as dg

WHEN_GATES_PASS = (
    dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
).with_label("inputs are new and their gates passed")
"""`eager()` alone would also ask for assets behind a failed blocking check."""
