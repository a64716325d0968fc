"""The check `drift` on the training set: has the world moved since the champion learned? It warns and blocks nobody.

Belongs here: choosing the reference from Dagster's records and showing what was found. The measures are
`sap_llm.learning.drift` and `sap_llm.evaluation.drift`; the history is the check's own, with a plot for each number.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from resources.deployment import DeploymentResource
from resources.pictures import bars
from resources.stage_run import DATASET_REF, StageRun
from sap_llm.learning.drift import TRAINING_SET, DriftReport, champions_training_set, compare, table
from sap_llm.learning.judges import GATES_CONFIG, GatesConfig
from sap_llm.schema.manifest import DatasetRef

_FULL_BAR = 0.5  # PSI
_RECORDS_LOOKED_AT = 25


def drift_checks(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetChecksDefinition]:
    """The check of the training set among the specs, evaluated and kept per partition."""
    return [_drift_check(spec) for spec in specs if spec.key.path[-1] == TRAINING_SET]


def _drift_check(spec: dg.AssetSpec) -> dg.AssetChecksDefinition:

    @dg.asset_check(
        asset=spec.key,
        name="drift",
        blocking=False,
        partitions_def=spec.partitions_def,
        description="Features and classes are distributed as in the training set of the champion, else of the release "
        "before. A warning, no gate.",
    )
    def drift(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        with deployment.open(context, asset=TRAINING_SET) as stage:
            new = stage.ref(TRAINING_SET, stage.partition)
            reference = champions_training_set(stage.deployment.store, stage.deployment.registry)
            reference = reference or _release_before(stage, new)
            if reference is None or reference == new:
                return dg.AssetCheckResult(passed=True, description="no earlier training set to compare with")
            config = stage.deployment.config(GatesConfig, GATES_CONFIG)
            report = compare(stage.open_dataset(new), stage.open_dataset(reference), config.drift, seed=config.seed)
        return dg.AssetCheckResult(
            passed=not report.alarms,
            severity=dg.AssetCheckSeverity.WARN,
            description=report.explanation,
            metadata=_metadata(report, new),
        )

    return drift


def _release_before(stage: StageRun, new: DatasetRef) -> DatasetRef | None:
    """The training set of the release that was materialised last before this one."""
    records = stage.dagster.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(TRAINING_SET)), limit=_RECORDS_LOOKED_AT
    ).records
    for record in records:
        assert record.asset_materialization is not None
        found = record.asset_materialization.metadata.get(DATASET_REF)
        ref = DatasetRef.parse(str(found.value)) if found is not None else new
        if ref.name != new.name and stage.deployment.store.find(ref) is not None:
            return ref
    return None


def _metadata(report: DriftReport, new: DatasetRef) -> dict[str, Any]:
    worst = sorted(report.features, key=lambda entry: -entry.psi)
    picture = bars({entry.name: min(1.0, entry.psi / _FULL_BAR) for entry in worst})
    caption = f"Bars: PSI, the longest first; the full width is {_FULL_BAR}."
    return {
        "alarms": len(report.alarms),
        "false_alarms": report.false_alarms,
        "resamples": report.resamples,
        "largest_psi": worst[0].psi if worst else 0.0,
        **{f"psi_{entry.name}": entry.psi for entry in report.features},
        "report": dg.MetadataValue.md(f"{picture}\n\n{caption}\n\n{table(report)}"),
        "reference": str(report.reference),
        "compared": str(new),
    }
