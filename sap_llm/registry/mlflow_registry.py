"""Registered model versions in MLflow, the `champion` alias, and a pointer file that is read without MLflow.

Belongs here: registering, promoting, reading the champion, comparing pointer and alias. Who deserves promotion is
`learning.promotion`. MLflow takes seconds to import, so serving and CLI read only `champion.json`; the alias in MLflow
stays the record.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from sap_llm.registry.files import RegistryFiles
from sap_llm.registry.mlflow_client import experiment_id, log_parameters, open_client
from sap_llm.schema.clock import Clock, SystemClock
from sap_llm.schema.errors import DatasetNotFoundError, SapLlmError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

REGISTERED_MODEL = "sap_llm-multitask-model"
EXPERIMENT = "sap_llm"
CHAMPION, PREVIOUS = "champion", "previous"
_POINTER = "champion.json"
_MODEL_FOLDER = "model"


class RegisteredVersion(BaseModel):
    """One registered model version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    run_id: str
    release: str
    model: str  # dataset reference, name@version
    evaluation: str
    test_version: str
    metrics: dict[str, float]


class Champion(RegisteredVersion):
    """The version that serves, as the pointer file says it."""

    folder: Path  # local folder with the model's files
    promoted_at: AwareDatetime
    reason: str
    previous: str | None  # version that it replaced


class ModelRegistry:
    """Model versions of one deployment."""

    def __init__(
        self, tracking_uri: str, *, root: str | Path, clock: Clock | None = None, **storage_options: Any
    ) -> None:
        """Describe the registry; nothing is opened yet.

        Args:
            tracking_uri: MLflow server or `sqlite:///` path.
            root: Folder or URL of the pointer file and of the models' files.
            clock: Source of the time of promotions.
            storage_options: Passed to fsspec.
        """
        self.tracking_uri = tracking_uri
        self.clock: Clock = clock or SystemClock()
        self._files = RegistryFiles(root, **storage_options)
        self._client: MlflowClient | None = None

    def register_model(
        self,
        *,
        folder: Path,
        release: str,
        model: str,
        evaluation: str,
        test_version: str,
        metrics: Mapping[str, float],
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        variants: Mapping[str, Path] | None = None,
    ) -> RegisteredVersion:
        """Register a model with its files; the same model with the same evaluation is registered once.

        Args:
            folder: The model's files, kept as artifacts.
            release: Release that it belongs to.
            model: Its dataset reference.
            evaluation: Reference of the evaluation that measured it.
            test_version: Version of the frozen test set of that evaluation.
            metrics: Numbers of the evaluation and the training.
            parameters: Resolved configuration; nested keys are joined with dots.
            tags: Further references and versions.
            variants: Folders of its accepted variants by name (`int8`).
        """
        client = self._mlflow()
        existing = self._find(client, model, evaluation)
        if existing is not None:
            _log_variants(client, existing.run_id, variants or {})
            return existing
        run_id = self._run(client, release, metrics, parameters, tags)
        client.log_artifacts(run_id, str(folder), _MODEL_FOLDER)
        _log_variants(client, run_id, variants or {})
        client.set_terminated(run_id, "FINISHED")
        identity = {"release": release, "model": model, "evaluation": evaluation, "test_version": test_version}
        made = client.create_model_version(
            REGISTERED_MODEL,
            source=f"{client.get_run(run_id).info.artifact_uri}/{_MODEL_FOLDER}",
            run_id=run_id,
            tags={**tags, **identity},
        )
        return self._describe(client, made)

    def promote(self, version: str, *, reason: str) -> Champion:
        """Make a registered version the champion: the alias first, which is the record, then the pointer file.

        Args:
            version: Registered version.
            reason: Why, in one sentence.
        """
        client = self._mlflow()
        before = self._alias(client, CHAMPION)
        if before is not None and before != version:
            client.set_registered_model_alias(REGISTERED_MODEL, PREVIOUS, before)
        client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)
        now = self.clock.now()
        client.set_model_version_tag(REGISTERED_MODEL, version, "promoted_at", now.isoformat())
        client.set_model_version_tag(REGISTERED_MODEL, version, "promotion_reason", reason)
        return self._point_to(client, version, promoted_at=now, reason=reason)

    def champion(self) -> Champion | None:
        """The serving version from the pointer file, without MLflow; None before the first promotion.

        Raises:
            DatasetNotFoundError: The pointer names files that are gone.
        """
        text = self._files.read(_POINTER)
        if text is None:
            return None
        stored = Champion.model_validate_json(text)
        folder = self._files.local_folder(stored.folder.as_posix())
        if not folder.is_dir():
            raise DatasetNotFoundError(
                f"the files of champion version {stored.version} are gone",
                where=str(folder),
                remedy="Register and promote a model again (job release_model, or `make demo`).",
            )
        return stored.model_copy(update={"folder": folder})

    def folder_of(self, version: str) -> Path:
        """Local folder with the model's files of any registered version; the champion's is found without MLflow.

        Raises:
            DatasetNotFoundError: There is no such version.
        """
        champion = self.champion()
        if champion is not None and champion.version == version:
            return champion.folder
        found = next((entry for entry in self.versions() if entry.version == version), None)
        if found is None:
            raise DatasetNotFoundError(
                f"no registered version {version}",
                where=self.tracking_uri,
                remedy="`sap-llm status` names the champion.",
            )
        return self._files.local_folder(f"{_artifacts(found.run_id)}/{_MODEL_FOLDER}")

    def variant_folder(self, champion: Champion, name: str) -> Path | None:
        """Local folder of a variant (`int8`) that was registered with the champion, None if there is none."""
        try:
            folder = self._files.local_folder(f"{_artifacts(champion.run_id)}/variants/{name}")
        except FileNotFoundError:  # a remote root
            return None
        return folder if folder.is_dir() else None

    def versions(self) -> list[RegisteredVersion]:
        """Every registered version, oldest first."""
        client = self._mlflow()
        return [self._describe(client, found) for found in self._search(client)]

    def aliased(self) -> dict[str, RegisteredVersion]:
        """The registered versions that have an alias, by alias; empty where nothing was ever registered."""
        scheme, _, path = self.tracking_uri.partition(":///")
        if scheme == "sqlite" and not Path(path).exists():
            return {}  # asking would make the database, which takes MLflow seconds
        from mlflow.exceptions import MlflowException

        client = self._mlflow()
        try:
            aliases = client.get_registered_model(REGISTERED_MODEL).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}  # a server or a database in which nothing was registered yet
        return {
            alias: self._describe(client, client.get_model_version(REGISTERED_MODEL, str(version)))
            for alias, version in sorted(aliases.items())
        }

    def check_consistency(self) -> list[str]:
        """Compare the pointer file with MLflow's alias; an empty list means that they agree.

        `repair` makes the pointer follow the alias.
        """
        client = self._mlflow()
        alias = self._alias(client, CHAMPION)
        run_id = None if alias is None else client.get_model_version(REGISTERED_MODEL, alias).run_id
        try:
            pointer = self.champion()
        except SapLlmError as error:
            return [str(error)]
        pointed = (pointer.version, pointer.run_id) if pointer else (None, None)
        if (alias, run_id) == pointed:
            return []
        alias_says = f"MLflow's alias {CHAMPION} names version {alias} (run {run_id})"
        return [f"{alias_says}, {_POINTER} names version {pointed[0]} (run {pointed[1]})"]

    def repair(self) -> Champion | None:
        """Write the pointer file again from MLflow's alias."""
        client = self._mlflow()
        version = self._alias(client, CHAMPION)
        if version is None:
            return None
        tags = client.get_model_version(REGISTERED_MODEL, version).tags
        moment = tags.get("promoted_at")
        promoted_at = datetime.fromisoformat(moment) if moment else self.clock.now()
        return self._point_to(client, version, promoted_at=promoted_at, reason=tags.get("promotion_reason", ""))

    def url(self, version: RegisteredVersion) -> str | None:
        """Address of the version's run in a running MLflow server, None where MLflow is a local file."""
        if not self.tracking_uri.startswith("http"):
            return None
        return f"{self.tracking_uri.rstrip('/')}/#/models/{REGISTERED_MODEL}/versions/{version.version}"

    def _mlflow(self) -> "MlflowClient":
        if self._client is None:
            self._client = open_client(self.tracking_uri)
            self._prepare(self._client)
        return self._client

    def _prepare(self, client: "MlflowClient") -> None:
        from mlflow.exceptions import MlflowException

        experiment_id(client, EXPERIMENT, artifact_location=self._artifact_location())
        try:
            client.create_registered_model(REGISTERED_MODEL, description="Classifies and extracts SAP documents.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _artifact_location(self) -> str:
        if self._files.is_local:
            return (Path(self._files.root) / "artifacts").as_uri()
        return f"{self._files.root_url.rstrip('/')}/artifacts"

    def _run(
        self,
        client: "MlflowClient",
        release: str,
        metrics: Mapping[str, float],
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        from mlflow.entities import Metric, RunTag

        experiment = client.get_experiment_by_name(EXPERIMENT)
        now = int(self.clock.now().timestamp() * 1000)
        run = client.create_run(experiment.experiment_id, start_time=now, run_name=release)
        numbers = [Metric(key, float(value), now, 0) for key, value in metrics.items()]
        labels = [RunTag(key, value) for key, value in tags.items()]
        client.log_batch(run.info.run_id, metrics=numbers, tags=labels)
        log_parameters(client, run.info.run_id, parameters)
        return str(run.info.run_id)

    def _find(self, client: "MlflowClient", model: str, evaluation: str) -> RegisteredVersion | None:
        wanted = (model, evaluation)
        for found in self._search(client):
            is_wanted = (found.tags.get("model"), found.tags.get("evaluation")) == wanted
            if is_wanted and self._files.exists(f"{_artifacts(found.run_id)}/{_MODEL_FOLDER}"):
                return self._describe(client, found)
        return None

    def _search(self, client: "MlflowClient") -> "list[ModelVersion]":
        found = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
        return sorted(found, key=lambda entry: int(entry.version))

    def _describe(self, client: "MlflowClient", found: "ModelVersion") -> RegisteredVersion:
        tags = found.tags
        return RegisteredVersion(
            version=str(found.version),
            run_id=found.run_id,
            release=tags["release"],
            model=tags["model"],
            evaluation=tags["evaluation"],
            test_version=tags["test_version"],
            metrics=dict(client.get_run(found.run_id).data.metrics),
        )

    def _alias(self, client: "MlflowClient", alias: str) -> str | None:
        version = client.get_registered_model(REGISTERED_MODEL).aliases.get(alias)
        return None if version is None else str(version)

    def _point_to(self, client: "MlflowClient", version: str, *, promoted_at: datetime, reason: str) -> Champion:
        described = self._describe(client, client.get_model_version(REGISTERED_MODEL, version))
        champion = Champion(
            **described.model_dump(),
            folder=Path(_artifacts(described.run_id)) / _MODEL_FOLDER,  # relative: the root may move
            promoted_at=promoted_at,
            reason=reason,
            previous=self._alias(client, PREVIOUS),
        )
        self._files.write(_POINTER, champion.model_dump_json(indent=2))
        return champion.model_copy(update={"folder": self._files.local_folder(champion.folder.as_posix())})


def _log_variants(client: "MlflowClient", run_id: str, variants: Mapping[str, Path]) -> None:
    """Add the variants that the run does not have yet: one may be let through after its model was registered."""
    logged = {entry.path for entry in client.list_artifacts(run_id, "variants")}
    for name, folder in variants.items():
        if f"variants/{name}" not in logged:
            client.log_artifacts(run_id, str(folder), f"variants/{name}")


def _artifacts(run_id: str) -> str:
    return f"artifacts/{run_id}/artifacts"
