"""An MLflow client as this house uses it: explicit run ids, no global active run, no telemetry.

Belongs here: opening it, experiments, parameters. Model versions are `mlflow_registry`, the curves of a training
`training.tracking`. MLflow takes seconds to import, so it is imported by functions only.
"""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PARAMETER_LIMIT, _VALUE_LIMIT = 100, 500  # MLflow's for one batch; its own limit for a value is larger


def open_client(tracking_uri: str) -> "MlflowClient":
    """A client of a server or of a `sqlite:///` database, which it makes or migrates on first use."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def experiment_id(client: "MlflowClient", name: str, *, artifact_location: str | None = None) -> str:
    """Id of an experiment, which is made where it is missing."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_location))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, Any]) -> None:
    """Log a nested configuration; keys are joined with dots."""
    from mlflow.entities import Param

    flat = list(_flatten(parameters).items())
    for start in range(0, len(flat), _PARAMETER_LIMIT):
        batch = [Param(key, str(value)[:_VALUE_LIMIT]) for key, value in flat[start : start + _PARAMETER_LIMIT]]
        client.log_batch(run_id, params=batch)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
