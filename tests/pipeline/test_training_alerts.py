"""From an observed alert to people: the sensor's log, its webhook, and the check on the asset that is trained."""

import json
from typing import Any

import dagster as dg
import pytest

from resources.deployment import DeploymentResource
from resources.observers import ALERTS, HEALTH
from sap_llm.deployment import Deployment
from sap_llm.storage.build import StageConfig, build
from sap_llm.storage.store import DatasetWriter
from sap_llm.training.model_report import ALERTS as ALERTS_FILE
from sap_llm.training.monitor import as_metadata, killed, stalled
from sensors.training_alerts import training_alerts
from tests.support.dagster_records import record_materialisation
from tests.support.webhook_receiver import receiver

MODEL = dg.AssetKey("multitask_model")
KEY = dg.AssetCheckKey(MODEL, HEALTH)


def observe(instance: dg.DagsterInstance, alert: Any) -> None:
    metadata = {**as_metadata(alert), "asset": "multitask_model", "partition": "r1"}
    instance.report_runless_asset_event(dg.AssetObservation(ALERTS, metadata=metadata))


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    resource = DeploymentResource(profile="seconds")
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"deployment": resource})
    result = training_alerts(context)
    assert isinstance(result, dg.SensorResult)
    return result


@pytest.mark.usefixtures("house")
def test_an_idle_look_says_so_and_moves_nothing(instance: dg.DagsterInstance) -> None:
    result = tick(instance)
    assert result.cursor == '{"sent": 0, "told": 0}'
    assert result.asset_events == []
    assert "No training raised an alert" in str(result.skip_reason)


def test_an_alert_reaches_webhook_and_check_once(
    house: Deployment, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe(instance, stalled(seconds=301.0, step=40, slowest="rank-1 was seen longest ago"))
    with receiver() as received:
        monkeypatch.setenv("SAP_LLM_ALERT_WEBHOOK", f"{received.url}/secret-path")
        first = tick(instance)
        again = tick(instance, first.cursor)
    (body,) = received.bodies
    assert body["text"].startswith("stall in the training of multitask_model/r1: no rank did a step for 301 s")
    assert (body["kind"], body["severity"], body["step"]) == ("stall", "error", 40)
    (evaluation,) = first.asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert evaluation.asset_check_key == KEY
    assert (evaluation.passed, evaluation.severity, evaluation.partition) == (False, dg.AssetCheckSeverity.ERROR, "r1")
    assert again.asset_events == []
    assert again.cursor == first.cursor
    assert "secret-path" not in str(first.skip_reason)


def test_an_alert_that_the_webhook_refuses_is_sent_later_and_shown_at_once(
    house: Deployment, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (10, 20):
        observe(instance, stalled(seconds=301.0, step=step, slowest="rank-1 was seen longest ago"))
    with receiver(status=503) as received:
        monkeypatch.setenv("SAP_LLM_ALERT_WEBHOOK", received.url)
        refused = tick(instance)
        assert len(refused.asset_events) == 2  # the UI is told in any case
        assert "HTTP 503" in str(refused.skip_reason)
        received.status = 200
        taken = tick(instance, refused.cursor)
        idle = tick(instance, taken.cursor)
    assert [body["step"] for body in received.bodies] == [10, 10, 20]
    assert taken.asset_events == []
    assert idle.cursor == taken.cursor


@pytest.mark.usefixtures("house")
def test_without_a_webhook_the_check_is_still_told(instance: dg.DagsterInstance) -> None:
    observe(instance, killed(last={"step": 7.0}))
    (evaluation,) = tick(instance).asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert "killed at step 7" in str(evaluation.description)


@pytest.mark.usefixtures("house")
def test_an_alert_of_a_run_over_several_partitions_is_on_the_check_of_each(instance: dg.DagsterInstance) -> None:
    alert = as_metadata(killed(last={"step": 7.0}))
    metadata = {**alert, "asset": "stage_adapters", "partition": "inbox|r1, routing|r1"}
    instance.report_runless_asset_event(dg.AssetObservation(ALERTS, metadata=metadata))
    result = tick(instance)
    evaluations = [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
    assert [evaluation.partition for evaluation in evaluations] == ["inbox|r1", "routing|r1"]
    assert "1 alerts told" in str(result.skip_reason)


def test_the_daemon_takes_the_evaluation_into_the_checks_history(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    observe(instance, killed(last={"step": 7.0}))
    (evaluation,) = tick(instance).asset_events
    instance.report_runless_asset_event(evaluation)
    history = instance.event_log_storage.get_asset_check_execution_history(KEY, limit=5)
    assert len(history) == 1


@pytest.mark.parametrize("alerts", [[], [{"kind": "loss_spike", "step": 90, "explanation": "the loss doubled"}]])
def test_the_check_reads_the_alerts_of_a_finished_training(
    alerts: list[dict[str, Any]], defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    def produce(writer: DatasetWriter) -> dict[str, Any]:
        writer.path(ALERTS_FILE).write_text(json.dumps(alerts))
        return {}

    built = build(house.context(), name="multitask_model/r1", stage_version="1", config=StageConfig(), produce=produce)
    record_materialisation(instance, built.dataset)
    selection = dg.AssetSelection.checks(KEY)
    job = dg.define_asset_job("only_the_check", selection=selection)
    # by tag, because Dagster takes no partition key for a job without assets
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("only_the_check")
    result = merged.execute_in_process(instance=instance, tags={"dagster/partition": "r1"}, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed is not bool(alerts)
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert ("loss_spike at step 90" in str(evaluation.description)) is bool(alerts)
    assert evaluation.metadata["alerts"].value == len(alerts)
