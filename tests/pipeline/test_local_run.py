"""Runs in this process: what is printed, what is reported, where it stops."""

import dagster as dg
import pytest

from sap_llm.storage.partitions import PartitionsConfig
from sap_llm_dagster.local_run import PlannedRun, plan_release, plan_sources, run_all, run_job
from sap_llm_dagster.loggers import progress_logger

PARTITIONS = PartitionsConfig(
    seed_ranges=("0000-0001", "0002-0003"), corpora=("sroie",), first_month="2025-01", variants=("int8",)
)


@dg.asset
def good(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("half way")
    context.log.debug("too much detail")
    return dg.MaterializeResult(metadata={"reused": dg.MetadataValue.bool(True)})


@dg.asset(deps=[good])
def bad() -> None:
    try:
        raise ValueError("the disk is full")
    except ValueError as error:
        raise dg.Failure("nothing was written", allow_retries=False) from error


@dg.asset(deps=[good], retry_policy=dg.RetryPolicy(max_retries=1))
def stubborn() -> None:
    raise ValueError("the server is away")


@dg.asset_check(asset=good, blocking=True)
def gate() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def some_defs() -> dg.Definitions:
    return dg.Definitions(
        assets=[good, bad, stubborn],
        asset_checks=[gate],
        jobs=[
            dg.define_asset_job(asset.key.path[-1], selection=dg.AssetSelection.assets(asset))
            for asset in (good, bad, stubborn)
        ],
        loggers={"progress": progress_logger},
    )


def test_a_run_prints_progress_only_and_reports_reuse_and_checks(
    some_defs: dg.Definitions, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_job(instance, "good", defs=some_defs)
    printed = capsys.readouterr()
    assert [line.split(maxsplit=1) for line in printed.out.splitlines()][:2] == [
        ["good", "started"],
        ["good", "half way"],
    ]
    assert "too much detail" not in printed.out
    assert printed.err == ""
    assert outcome.is_success
    assert [(asset.asset, asset.is_reused) for asset in outcome.assets] == [("good", True)]
    assert outcome.checks == {"good.gate": True}


def test_a_quiet_run_prints_nothing(
    some_defs: dg.Definitions, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(instance, "good", defs=some_defs, is_quiet=True)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.parametrize(
    ("job", "sentence"), [("bad", "bad: nothing was written"), ("stubborn", "stubborn: ValueError: the server is away")]
)
def test_a_failure_is_one_sentence(
    job: str, sentence: str, some_defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    outcome = run_job(instance, job, defs=some_defs, is_quiet=True)
    assert not outcome.is_success
    assert outcome.failure == sentence


def test_a_plan_stops_after_its_first_failure(some_defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    plan = [PlannedRun(job=name) for name in ("good", "bad", "good")]
    outcomes = list(run_all(some_defs, instance, plan, is_quiet=True))
    assert [(outcome.job, outcome.is_success) for outcome in outcomes] == [("good", True), ("bad", False)]


def test_a_plan_names_jobs_and_partitions_that_exist(defs: dg.Definitions) -> None:
    plan = [
        *plan_sources(PARTITIONS, corpora=["sroie"], months=["2025-01", "2025-02"]),
        *plan_release(PARTITIONS, "r1"),
    ]
    assert [run.job for run in plan] == [
        *("read_corpora", "make_synthetic", "make_synthetic", "export_sources", "export_sources"),
        *("build_corpus", "train_model", "instruct_model", "train_adapters", "compress_model", "release_model"),
    ]
    assert all(defs.resolve_job_def(run.job) for run in plan)
