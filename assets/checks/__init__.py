"""Gates as asset checks, one factory for all of them; blocking unless a closed gate only means going without.

Belongs here: the translation of a verdict into Dagster's check result. What a gate measures is `learning.judges`; that
a closed gate really stops whoever consumes the data is the door (`StageRun.pass_door`), because a blocking check stops
only its own run.
"""

from collections.abc import Iterable

import dagster as dg

from resources.deployment import DeploymentResource
from sap_llm.learning.judges import DESCRIPTIONS, GATES_CONFIG, GatesConfig, judge
from sap_llm.registry.gates import OPTIONAL, gates_of


def gate_checks(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetChecksDefinition]:
    """A check for each gate of each asset, evaluated and kept per partition."""
    return [_gate_check(gate, spec) for spec in specs for gate in gates_of(spec.key.path[-1])]


def _gate_check(gate: str, spec: dg.AssetSpec) -> dg.AssetChecksDefinition:
    asset = spec.key.path[-1]

    @dg.asset_check(
        asset=spec.key,
        name=gate,
        blocking=gate not in OPTIONAL,
        partitions_def=spec.partitions_def,
        description=DESCRIPTIONS[gate],
    )
    def check(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> dg.AssetCheckResult:
        with deployment.open(context, asset=asset) as stage:
            dataset = stage.open_dataset(stage.ref(asset, context.partition_key))
            config = stage.deployment.config(GatesConfig, GATES_CONFIG)
            verdict = judge(gate, dataset, config=config, verdicts=stage.deployment.verdicts)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.WARN if gate in OPTIONAL else dg.AssetCheckSeverity.ERROR,
            description=verdict.explanation,
            metadata={
                **verdict.measured,
                **{f"{name}_required": value for name, value in verdict.required.items()},
                "judged": str(dataset.ref),
            },
        )

    return check
