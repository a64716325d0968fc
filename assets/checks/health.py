"""The check `training_health` on every training asset: did the training that made it raise alerts? It blocks nobody.

Belongs here: the alerts of a finished training, from its dataset. Those of a training that still runs or died are put
on the same check by the sensor `training_alerts`; whether a model is good enough is its gates' business.
"""

import json
from collections.abc import Iterable

import dagster as dg

from resources.deployment import DeploymentResource
from resources.observers import HEALTH
from sap_llm.training.model_report import ALERTS


def health_checks(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetChecksDefinition]:
    """The check of each training asset, evaluated and kept per partition."""
    return [_health_check(spec) for spec in specs]


def _health_check(spec: dg.AssetSpec) -> dg.AssetChecksDefinition:
    asset = spec.key.path[-1]

    @dg.asset_check(
        asset=spec.key,
        name=HEALTH,
        blocking=False,
        partitions_def=spec.partitions_def,
        description="No loss spike, stall, fall of the validation or want of memory while this was trained. A warning, "
        "no gate; docs/runbooks/training.md says what to do.",
    )
    def health(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        with deployment.open(context, asset=asset) as stage:
            # Dagster evaluates a check once a run, also where the run trained several partitions
            trained = [stage.open_dataset(stage.ref(asset, key)) for key in stage.partition_keys]
            alerts = [
                alert
                for dataset in trained
                if ALERTS in dataset.manifest.files
                for alert in json.loads(dataset.path(ALERTS).read_text(encoding="utf-8"))
            ]
        said = "; ".join(f"{alert['kind']} at step {alert['step']}: {alert['explanation']}" for alert in alerts)
        kinds = sorted({str(alert["kind"]) for alert in alerts})
        counts = {kind: sum(alert["kind"] == kind for alert in alerts) for kind in kinds}
        return dg.AssetCheckResult(
            passed=not alerts,
            severity=dg.AssetCheckSeverity.WARN,
            description=said or "no alert while this was trained",
            metadata={"alerts": len(alerts), **counts, "trained": ", ".join(str(dataset.ref) for dataset in trained)},
        )

    return health
