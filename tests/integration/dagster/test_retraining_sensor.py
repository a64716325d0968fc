"""Corrections wake exactly one retraining: real process memory, real daemon loop, runs left in the queue."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time, load_remote_repo
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.sensor import execute_sensor_iteration

from sap_llm.deployment import Deployment
from sap_llm.pmg.feedback import Feedback, record_feedback
from sap_llm.pmg.ingest import Processed, remember
from sap_llm.pmg.schema import migrate
from sap_llm.pmg.validation import Extracted, validate
from sap_llm.schema.clock import SystemClock
from sap_llm.schema.manifest import DatasetRef

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]

CHECKOUT = Path(__file__).parents[3]
SENSOR = "retraining_sensor"
MODEL = DatasetRef(name="multitask_model/r1", version="aaaa")
SUBTYPES = ("STANDARD", "FRAMEWORK", "RUSH", None)
NEEDED = 500  # configs/seconds/retraining.yaml


def _processed(number: int) -> Processed:
    document = {
        "document_id": f"doc-{number:04}",
        "source": "synthetic",
        "document_type": "PURCHASE_ORDER" if number % 2 else "SUPPLIER_INVOICE",
        "document_subtype": SUBTYPES[number % 4],
        "language": "de",
        "page_count": 1,
        "sha256": f"{number:064}",
        "vendor": f"vendor {number % 5}",
        "event_time": datetime(2026, 1, 1, tzinfo=UTC),
    }
    prediction = {
        "document_id": document["document_id"],
        "annotator": "model:aaaa",
        "revision": 0,
        "source": "model",
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
        "document_type": document["document_type"],
        "document_subtype": document["document_subtype"],
        "type_confidence": 0.9,
        "fields": [],
        "line_items": [],
        "tables": [],
        "layout_blocks": [],
    }
    validation = validate(Extracted.from_row(prediction), required={})
    return Processed(document=document, prediction=prediction, validation=validation, model=MODEL)


def _correction(number: int, after: str = "120.00") -> Feedback:
    changed = {"total_amount": {"before": "119.00", "after": after}}
    return Feedback(document_id=f"doc-{number:04}", kind="correction", user_id="ana", corrections=changed)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")
    monkeypatch.chdir(CHECKOUT)
    return Deployment.load()


class Daemon:
    """The daemon's own sensor loop over the real code location; requested runs stay in the queue."""

    def __init__(self, instance: dg.DagsterInstance, workspace: Any) -> None:
        self._instance, self._workspace, self._now = instance, workspace, datetime.now(UTC)
        self._sensor = load_remote_repo(workspace, "__repository__").get_sensor(SENSOR)

    def switch_on(self) -> None:
        self._instance.start_sensor(self._sensor)

    def tick(self) -> Any:
        """One look, long enough after the last one; returns the tick."""
        self._now += timedelta(hours=1)
        with freeze_time(self._now):
            list(execute_sensor_iteration(self._workspace, logging.getLogger("test"), None, None))
        return self._instance.get_ticks(self._sensor.get_remote_origin_id(), self._sensor.selector_id, limit=1)[0]

    def forget_cursor(self) -> None:
        state = self._instance.get_instigator_state(self._sensor.get_remote_origin_id(), self._sensor.selector_id)
        assert state is not None
        data = state.instigator_data
        self._instance.update_instigator_state(state.with_data(data._replace(cursor=None)))

    @property
    def runs(self) -> list[dg.DagsterRun]:
        return list(self._instance.get_runs(dg.RunsFilter(job_name="retrain")))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


def _daemon(instance: dg.DagsterInstance) -> Any:
    target = PythonFileTarget(
        python_file=str(CHECKOUT / "sap_llm_dagster/definitions.py"),
        attribute=None,
        working_directory=str(CHECKOUT),
        location_name="sap_llm",
    )
    return create_test_daemon_workspace_context(target, instance)


def test_corrections_start_exactly_one_run(house: Deployment, instance: dg.DagsterInstance) -> None:
    with _daemon(instance) as workspace:
        daemon = Daemon(instance, workspace)
        daemon.switch_on()
        assert "no release was remembered yet" in daemon.tick().skip_reason

        with house.graph() as graph:
            migrate(graph, clock=SystemClock())
            remember(graph, map(_processed, range(600)), clock=SystemClock())
            record_feedback(graph, map(_correction, range(NEEDED - 1)), clock=SystemClock())
            # the same word twice, and a second correction of one document: still as many documents
            record_feedback(graph, [_correction(0), _correction(1, after="121.00")], clock=SystemClock())
        waiting = daemon.tick()
        assert "1 more corrected documents" in waiting.skip_reason
        assert daemon.runs == []

        with house.graph() as graph:
            record_feedback(graph, [_correction(NEEDED)], clock=SystemClock())
        daemon.tick()
        (run,) = daemon.runs
        (release,) = instance.get_dynamic_partitions("release")
        assert run.tags["dagster/partition"] == release
        assert run.tags["corrections"] == str(NEEDED)

        assert "No retraining" in daemon.tick().skip_reason
        assert len(daemon.runs) == 1

    with _daemon(instance) as workspace:  # the daemon was restarted
        daemon = Daemon(instance, workspace)
        daemon.tick()
        assert len(daemon.runs) == 1
        daemon.forget_cursor()
        daemon.tick()
        assert len(daemon.runs) == 1
        assert len(instance.get_dynamic_partitions("release")) == 1
