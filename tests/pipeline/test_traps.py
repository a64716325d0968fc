"""Traps of Dagster that the lineage must not fall into.

Each is shown to exist, so that an upgrade which removes it is noticed; the house's answer is tested beside it or in
`test_door`.
"""

from collections.abc import Iterator

import dagster as dg
import pytest

from resources.conditions import WHEN_GATES_PASS

RELEASES = dg.StaticPartitionsDefinition(["r1", "r2", "r3"])


def _lineage(
    *,
    passed: bool,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    condition: dg.AutomationCondition | None = None,
) -> dg.Definitions:
    @dg.asset
    def upstream() -> None: ...

    @dg.asset(deps=[upstream], automation_condition=condition)
    def downstream() -> None: ...

    @dg.asset_check(asset=upstream, blocking=True)
    def gate() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=passed, severity=severity)

    return dg.Definitions(assets=[upstream, downstream], asset_checks=[gate])


def _run(defs: dg.Definitions, instance: dg.DagsterInstance, *assets: str) -> dg.ExecuteInProcessResult:
    job = defs.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(asset) for asset in assets] or None
    return job.execute_in_process(instance=instance, asset_selection=keys, raise_on_error=False)


def _was_made(result: dg.ExecuteInProcessResult, asset: str) -> bool:
    return dg.AssetKey(asset) in {event.asset_key for event in result.get_asset_materialization_events()}


def test_a_failed_blocking_check_stops_only_its_own_run() -> None:
    defs, instance = _lineage(passed=False), dg.DagsterInstance.ephemeral()

    together = _run(defs, instance)
    assert not together.success
    assert not _was_made(together, "downstream")

    alone = _run(defs, instance, "downstream")
    assert alone.success  # the trap: hence `StageRun.pass_door`
    assert _was_made(alone, "downstream")


@pytest.mark.parametrize(
    ("condition", "requested"),
    [(dg.AutomationCondition.eager(), True), (WHEN_GATES_PASS, False)],
    ids=["eager", "ours"],
)
def test_eager_asks_for_what_is_behind_a_closed_gate_and_our_condition_does_not(
    condition: dg.AutomationCondition, requested: bool
) -> None:
    defs, instance = _lineage(passed=False, condition=condition), dg.DagsterInstance.ephemeral()
    before = dg.evaluate_automation_conditions(defs=defs, instance=instance)

    _run(defs, instance, "upstream")

    after = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
    assert bool(after.get_num_requested(dg.AssetKey("downstream"))) is requested


def test_our_condition_asks_when_the_gate_passed() -> None:
    defs, instance = _lineage(passed=True, condition=WHEN_GATES_PASS), dg.DagsterInstance.ephemeral()
    before = dg.evaluate_automation_conditions(defs=defs, instance=instance)

    _run(defs, instance, "upstream")

    after = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
    assert after.get_num_requested(dg.AssetKey("downstream")) == 1


def test_a_blocking_check_of_severity_warn_does_not_block() -> None:
    defs = _lineage(passed=False, severity=dg.AssetCheckSeverity.WARN)
    assert _was_made(_run(defs, dg.DagsterInstance.ephemeral()), "downstream")


def test_a_failed_check_inside_a_multi_asset_does_not_keep_its_sibling_back() -> None:
    @dg.multi_asset(
        specs=[dg.AssetSpec("one"), dg.AssetSpec("two")],
        check_specs=[dg.AssetCheckSpec("gate", asset="one", blocking=True)],
    )
    def both() -> Iterator[dg.MaterializeResult]:
        yield dg.MaterializeResult(
            asset_key="one", check_results=[dg.AssetCheckResult(passed=False, check_name="gate")]
        )
        yield dg.MaterializeResult(asset_key="two")

    result = _run(dg.Definitions(assets=[both]), dg.DagsterInstance.ephemeral())
    assert not result.success
    assert _was_made(result, "two")


def test_a_partitioned_check_is_evaluated_once_in_a_single_run_backfill() -> None:
    seen: list[bool] = []

    @dg.asset(partitions_def=RELEASES, backfill_policy=dg.BackfillPolicy.single_run())
    def training() -> None: ...

    @dg.asset_check(asset=training, blocking=True, partitions_def=RELEASES)
    def gate(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        seen.append(context.has_partition_key)
        return dg.AssetCheckResult(passed=True)

    instance = dg.DagsterInstance.ephemeral()
    job = dg.Definitions(assets=[training], asset_checks=[gate]).resolve_implicit_global_asset_job_def()
    tags = {"dagster/asset_partition_range_start": "r1", "dagster/asset_partition_range_end": "r3"}
    assert job.execute_in_process(instance=instance, tags=tags).success

    made = instance.get_materialized_partitions(dg.AssetKey("training"))
    assert made == {"r1", "r2", "r3"}
    assert seen == [False]  # the trap: one evaluation for three partitions; hence `StageRun.partition` refuses ranges


def test_each_failed_blocking_check_of_a_multi_check_stops_its_run() -> None:
    @dg.asset
    def upstream() -> None: ...

    @dg.asset(deps=[upstream])
    def downstream() -> None: ...

    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec(name, asset=upstream, blocking=True) for name in ("schema", "money")]
    )
    def gates() -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(asset_key="upstream", check_name="schema", passed=True)
        yield dg.AssetCheckResult(asset_key="upstream", check_name="money", passed=False)

    defs = dg.Definitions(assets=[upstream, downstream], asset_checks=[gates])
    result = _run(defs, dg.DagsterInstance.ephemeral())
    assert {check.check_name: check.passed for check in result.get_asset_check_evaluations()} == {
        "schema": True,
        "money": False,
    }
    assert not result.success
    assert not _was_made(result, "downstream")
