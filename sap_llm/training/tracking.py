"""A training's curve in MLflow: told by the launcher, in a thread, in batches, with an explicit run id.

Belongs here: the run of a plan, which a resumed training goes on with, and what goes into it. The launcher hears the
messages that it shows anyway; the ranks know nothing of MLflow, so its import, a slow server or none cost no step.
"""

import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sap_llm.storage.whole import write_whole
from sap_llm.training.plan import TrainingPlan

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "sap_llm_training"
RUN = "mlflow.json"
_BATCH_SECONDS = 5.0
_MOST_METRICS = 1000  # MLflow's for one batch
_TRIES, _TIMEOUT_SECONDS = "2", "10"
Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """Takes the messages of a program; never raises, never waits, except in `close`."""

    def __init__(
        self, uri: str, plan: TrainingPlan[Any], *, say: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        """Begin to open the run in a thread of its own.

        Args:
            uri: Tracking URI of the deployment.
            plan: Its work folder remembers the run.
            say: Gets the line with the link, once.
            warn: Gets the reason where MLflow cannot be used; the training goes on.
        """
        self._uri, self._plan, self._say, self._warn = uri, plan, say, warn
        self._waiting: queue.Queue[Mapping[str, Any] | Status] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Take one message; those that are no points tell MLflow nothing."""
        if message.get("event") == "step":
            self._waiting.put(message)

    def close(self, status: Status, *, wait_seconds: float = 60.0) -> None:
        """Write what is waiting and end the run; gives up after so many seconds."""
        self._waiting.put(status)
        self._thread.join(wait_seconds)
        if self._thread.is_alive():
            self._warn(f"MLflow did not take the last points within {wait_seconds:.0f} s")

    def _work(self) -> None:
        try:
            client, run_id = self._open()
            while True:
                points, status = self._next_batch()
                _log(client, run_id, points)
                if status is not None:
                    client.set_terminated(run_id, status)
                    return
        except Exception as error:  # noqa: BLE001 - whatever a tracking server does, the training goes on
            self._warn(f"MLflow is not told of this training: {str(error).splitlines()[0][:200]}")

    def _next_batch(self) -> tuple[list[Mapping[str, Any]], Status | None]:
        """The points of the next seconds, and how the training ended if it did."""
        points: list[Mapping[str, Any]] = []
        end = time.monotonic() + _BATCH_SECONDS
        while (left := end - time.monotonic()) > 0:
            try:
                item = self._waiting.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(item, str):
                return points, item
            points.append(item)
        return points, None

    def _open(self) -> "tuple[MlflowClient, str]":
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _TRIES)
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _TIMEOUT_SECONDS)
        from mlflow.exceptions import MlflowException

        from sap_llm.registry.mlflow_client import experiment_id, log_parameters, open_client

        client = open_client(self._uri)
        known = run_of(Path(self._plan.work))
        if known is not None and known["uri"] == self._uri:
            try:
                client.update_run(known["run_id"], status="RUNNING")
            except MlflowException:
                known = None  # deleted meanwhile
        if known is None or known["uri"] != self._uri:
            known = {"uri": self._uri, "experiment_id": experiment_id(client, EXPERIMENT)}
            tags = {"version": self._plan.version, **{name: str(ref) for name, ref in self._plan.inputs.items()}}
            run = client.create_run(known["experiment_id"], run_name=self._plan.name, tags=tags)
            known["run_id"] = str(run.info.run_id)
            write_whole(Path(self._plan.work) / RUN, json.dumps(known).encode())
            log_parameters(client, known["run_id"], self._plan.config.model_dump(mode="json"))
        self._say(f"MLflow run {known['run_id']}: {link(known)}")
        return client, known["run_id"]


def run_of(work: Path) -> dict[str, str] | None:
    """uri, experiment_id and run_id of a plan's MLflow run; None where there is none."""
    file = work / RUN
    return dict(json.loads(file.read_text())) if file.exists() else None


def link(run: Mapping[str, str]) -> str:
    """Address of a run in a server's pages, without a password; for a database, how to see it."""
    if run["uri"].startswith("http"):
        scheme, _, rest = run["uri"].rstrip("/").partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}"
    return f"mlflow ui --backend-store-uri {run['uri']}"


def _log(client: "MlflowClient", run_id: str, points: list[Mapping[str, Any]]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
        Metric(name, float(value), now, int(point["step"]))
        for point in points
        for name, value in point.items()
        if name not in {"step", "steps", "at"} and isinstance(value, int | float) and math.isfinite(value)
    ]
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
