"""Gates as asset checks, one factory for all of them; blocking unless a closed gate only means going without.

Belongs here: the translation of verdicts into Dagster's check results. What a gate measures is `learning.judges`; that
a closed gate really stops whoever consumes the data is the door (`StageRun.pass_door`), because a blocking check stops
only its own run.

All gates of an asset are judged in one step: a step costs seconds, and the groups of a suite share what they read.
"""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from resources.deployment import DeploymentResource
from resources.gates import overrides_table, rows_table
from resources.stage_run import StageRun
from sap_llm.learning.judges import DESCRIPTIONS, GATES_CONFIG, GatesConfig, judge_all
from sap_llm.registry.gates import OPTIONAL, gates_of
from sap_llm.registry.verdicts import Verdict


def gate_checks(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetChecksDefinition]:
    """The checks of each asset that has gates, evaluated and kept per partition."""
    return [_gate_checks(spec) for spec in specs if gates_of(spec.key.path[-1])]


def _gate_checks(spec: dg.AssetSpec) -> dg.AssetChecksDefinition:
    asset = spec.key.path[-1]
    checks = [
        dg.AssetCheckSpec(
            name=gate,
            asset=spec.key,
            blocking=gate not in OPTIONAL,
            partitions_def=spec.partitions_def,
            description=DESCRIPTIONS[gate],
        )
        for gate in gates_of(asset)
    ]

    @dg.multi_asset_check(name=f"{asset}_gates", specs=checks, can_subset=True)
    def check(context: dg.AssetCheckExecutionContext, deployment: DeploymentResource) -> Iterator[dg.AssetCheckResult]:
        only = [key.name for key in context.selected_asset_check_keys]
        with deployment.open(context, asset=asset) as stage:
            results = _judge(stage, asset, only)
        yield from results

    return check


def _judge(stage: StageRun, asset: str, only: Sequence[str]) -> list[dg.AssetCheckResult]:
    dataset = stage.open_dataset(stage.ref(asset, stage.partition))
    verdicts = judge_all(
        dataset,
        config=stage.deployment.config(GatesConfig, GATES_CONFIG),
        verdicts=stage.deployment.verdicts,
        only=only,
        spark=stage.deployment.spark,
    )
    return [_result(stage, asset, str(dataset.ref), verdict) for verdict in verdicts]


def _result(stage: StageRun, asset: str, judged: str, verdict: Verdict) -> dg.AssetCheckResult:
    verdicts = stage.deployment.verdicts
    metadata = {
        **verdict.measured,
        **{f"{name}_required": value for name, value in verdict.required.items()},
        **rows_table(verdict.examples),
        **overrides_table(verdicts.overrides(verdict.data_version, verdict.gate), now=verdicts.clock.now()),
        "judged": judged,
        "data_version": verdict.data_version,
    }
    if verdict.report:
        is_url = "://" in verdict.report
        metadata["data_docs"] = dg.MetadataValue.url(verdict.report if is_url else f"file://{verdict.report}")
        metadata["data_docs_path"] = dg.MetadataValue.path(verdict.report)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=verdict.gate,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN if verdict.gate in OPTIONAL else dg.AssetCheckSeverity.ERROR,
        description=verdict.explanation,
        metadata=metadata,
    )
