"""The check `improves_on_base` on the adapters: is each better than the model without it? It warns and blocks nobody.

Belongs here: showing what training measured, for all partitions of the run. Dagster evaluates a check once a run, also
where the run covers several partitions, so this one is not partitioned and names each of them.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from resources.deployment import DeploymentResource
from resources.pictures import table
from sap_llm.training.adapters.stage import STAGE_ADAPTERS

CHECK = "improves_on_base"


def adapter_checks(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetChecksDefinition]:
    """The check of the adapters among the specs."""
    return [_check(spec) for spec in specs if spec.key.path[-1] == STAGE_ADAPTERS.name]


def _check(spec: dg.AssetSpec) -> dg.AssetChecksDefinition:

    @dg.asset_check(
        asset=spec.key,
        name=CHECK,
        blocking=False,
        description="On validation examples the loss with the adapter is lower than without it. A warning, no gate.",
    )
    def improves_on_base(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        with deployment.open(context, asset=STAGE_ADAPTERS.name) as stage:
            measured = {
                name: stage.open_dataset(stage.ref(STAGE_ADAPTERS.name, key)).manifest.metrics
                for key, name in stage.document_stages.items()
            }
        return result(measured)

    return improves_on_base


def result(measured: dict[str, dict[str, Any]]) -> dg.AssetCheckResult:
    """The verdict over metrics by document stage; an adapter that nothing validated does not pass."""
    failed = [name for name, metrics in measured.items() if not metrics.get("is_improved", False)]
    said = f"no better than the base: {', '.join(failed)}" if failed else f"better than the base: {', '.join(measured)}"
    gains = {name: metrics.get("validation_loss_gain", "not validated") for name, metrics in measured.items()}
    plotted = {f"gain_{name}": value for name, value in gains.items() if not isinstance(value, str)}
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        description=said,
        metadata={**plotted, "gains": dg.MetadataValue.md(table(gains, head=("document stage", "loss gained")))},
    )
