"""From a profile and the environment to live clients: the wiring, once, for CLI and Dagster resources alike.

Belongs here: reading `configs/<profile>/`, resolving stage configurations with overrides, and constructing clients.
What the clients do belongs to their rooms; nothing connects before it is asked for.
"""

import getpass
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sap_llm.schema.clock import Clock, SystemClock
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.build import Progress, StageConfig, StageContext, silent
from sap_llm.storage.partitions import PARTITIONS, PartitionsConfig
from sap_llm.storage.store import DatasetStore
from sap_llm.training.trainer_config import (
    HostsTrainerConfig,
    KubernetesTrainerConfig,
    LocalTrainerConfig,
    TrainerConfig,
)

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from sap_llm.annotation.desk import Desk
    from sap_llm.graph.client import GraphClient
    from sap_llm.monitoring.webhook import Webhook
    from sap_llm.preparation.plan import SparkSettings
    from sap_llm.registry.mlflow_registry import ModelRegistry
    from sap_llm.registry.verdicts import VerdictStore
    from sap_llm.sources.qorsync import QorSync
    from sap_llm.sources.qorsync_headers import MonthState
    from sap_llm.training.trainer import Trainer

Config = TypeVar("Config", bound=StageConfig)

DEFAULT_PROFILE = "tiny"
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


class DeploymentConfig(BaseModel):
    """`configs/<profile>/deployment.yaml`: where each system of the house is. Relative paths are below the home folder.

    `${NAME}` stands for an environment variable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    storage: str = Field(description="folder or s3:// URL of the dataset versions")
    storage_options: dict[str, str] = Field(default={}, description="passed to fsspec, e.g. endpoint_url")
    registry: str = Field(description="folder or URL of verdicts and the champion pointer")
    mlflow: str = Field(description="MLflow tracking URI; sqlite:///<path below home> locally")
    relational: str = Field(description="QorSync headers: SQLite file or postgresql:// URI")
    documents: str = Field(description="QorSync extractions: mongodump folder or mongodb:// URI")
    blobs: str = Field(description="folder of QorSync document bytes, by sha256")
    corpora: str = Field(description="folder of public corpora, if there is one")
    graph: str = Field(description="folder of the local engine or bolt:// | neo4j:// URI")
    graph_user: str = "neo4j"
    graph_password: str = ""
    vectors: str = Field(description="folder of Qdrant local mode or http:// URL")
    annotation: str = Field(description="where people answer: folder of tasks and answers, or URL of Label Studio")
    annotation_token: str = Field(default="", description="of Label Studio's API")
    spark_master: str = Field(description="local[*] or spark:// | k8s:// URL")
    spark_staging: str | None = Field(default=None, description="folder or s3:// URL that driver and executors share")
    spark_packages: list[str] = Field(default=[], description="wheels for executors without sap_llm")
    spark_options: dict[str, str] = Field(default={}, description="further spark.* settings")
    executor: Literal["process", "kubernetes"] = Field(
        default="process", description="where Dagster's steps run: processes of the run's machine, or pods"
    )
    work: str = Field(description="scratch: training checkpoints, caches; on a disk that all nodes of a training share")
    trainer: TrainerConfig = Field(
        default=LocalTrainerConfig(), description="where training programs run: this machine, hosts, or Kubernetes"
    )
    alert_webhook: str = Field(default="", description="URL that gets alerts of trainings by POST; a secret")


class Deployment:
    """One profile, ready to hand out clients."""

    def __init__(
        self, profile: str, *, home: Path, configs: Path, clock: Clock | None = None, is_preview: bool = False
    ) -> None:
        self.profile, self.home, self.configs = profile, home, configs
        self.clock: Clock = clock or SystemClock()
        self.settings = _load(DeploymentConfig, configs / profile / "deployment.yaml", {}, keep_unset=is_preview)

    @classmethod
    def load(cls, profile: str | None = None, *, is_preview: bool = False) -> "Deployment":
        """Open `profile`, or `SAP_LLM_PROFILE`, or tiny.

        Args:
            profile: Folder of `configs/`.
            is_preview: Only to be looked at: variables that are not set stay as `${NAME}`.

        Raises:
            ConfigurationError: The profile does not exist or its deployment.yaml is invalid.
        """
        name = profile or os.environ.get("SAP_LLM_PROFILE") or DEFAULT_PROFILE
        configs = configs_folder()
        if not (configs / name / "deployment.yaml").is_file():
            known = ", ".join(sorted(path.parent.name for path in configs.glob("*/deployment.yaml")))
            raise ConfigurationError(f"no profile {name!r}", where=str(configs), remedy=f"Choose one of {known}.")
        return cls(name, home=home_folder(), configs=configs, is_preview=is_preview)

    def config(self, model: type[Config], stage: str, overrides: Mapping[str, Any] | None = None) -> Config:
        """The configuration of a stage: the profile's values plus dotted overrides (`backbone.width: 64`).

        Raises:
            ConfigurationError: A key is unknown or a value does not fit; names file and key.
        """
        return _load(model, self.configs / self.profile / f"{stage}.yaml", overrides or {})

    def context(self, progress: Progress = silent, *, built_by: str | None = None) -> StageContext:
        """What every stage function takes; `built_by` goes into manifests, by default user and machine."""
        who = built_by or f"{getpass.getuser()}@{socket.gethostname()}"
        return StageContext(store=self.store, clock=self.clock, progress=progress, built_by=who)

    def path(self, value: str) -> str:
        """Absolute form of a setting that may be a path below home or a URL."""
        return value if "://" in value else str(self.home / value)

    @cached_property
    def store(self) -> DatasetStore:
        """All dataset versions."""
        return DatasetStore(self.path(self.settings.storage), **self.settings.storage_options)

    @property
    def spark(self) -> "SparkSettings":
        """Where and how Spark's jobs run."""
        from sap_llm.preparation.plan import SparkSettings

        return SparkSettings(
            master=self.settings.spark_master,
            staging=self.settings.spark_staging,
            packages=self.settings.spark_packages,
            options=self.settings.spark_options,
        )

    def trainer(self) -> "Trainer":
        """Where training programs run; connects to nothing yet."""
        settings = self.settings.trainer
        if isinstance(settings, KubernetesTrainerConfig):
            from sap_llm.training.kubernetes import KubernetesTrainer

            return KubernetesTrainer(settings, storage_options=self.settings.storage_options)
        from sap_llm.training.trainer import HostsTrainer, LocalTrainer

        if isinstance(settings, HostsTrainerConfig):
            return HostsTrainer(settings, home=self.home)
        return LocalTrainer(settings)

    @property
    def work_folder(self) -> Path:
        """Local scratch folder, made on demand."""
        folder = self.home / self.settings.work
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def verdicts(self) -> "VerdictStore":
        """Verdicts of the gates."""
        from sap_llm.registry.verdicts import VerdictStore

        return VerdictStore(self.path(self.settings.registry), clock=self.clock, **self.settings.storage_options)

    @cached_property
    def registry(self) -> "ModelRegistry":
        """Registered model versions and their aliases."""
        from sap_llm.registry.mlflow_registry import ModelRegistry

        return ModelRegistry(
            self.mlflow_uri,
            root=self.path(self.settings.registry),
            clock=self.clock,
            **self.settings.storage_options,
        )

    @property
    def documents_folder(self) -> Path | None:
        """Folder of public corpora that is there: `SAP_LLM_DOCUMENTS`, else the profile's; None without one."""
        folder = self.home / os.environ.get("SAP_LLM_DOCUMENTS", self.settings.corpora)
        return folder if folder.is_dir() else None

    @property
    def metadata_cache(self) -> Path:
        """Folder of downloaded `$metadata` documents; whoever downloads makes it."""
        return self.home / self.settings.work / "sap_metadata"

    @property
    def mlflow_uri(self) -> str:
        """MLflow tracking URI with an absolute SQLite path."""
        scheme, separator, rest = self.settings.mlflow.partition(":///")
        if scheme != "sqlite":
            return self.settings.mlflow
        path = self.home / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"{scheme}{separator}{path}"

    def graph(self) -> "GraphClient":
        """A client of the graph; starts the local engine's process where there is no server. Close it after use."""
        if "://" in self.settings.graph:
            from sap_llm.graph.client import GraphClient

            return GraphClient(
                self.settings.graph, user=self.settings.graph_user, password=self.settings.graph_password
            )
        from sap_llm.graph.local_engine import open_local_graph

        return open_local_graph(self.home / self.settings.graph)

    @property
    def has_qorsync(self) -> bool:
        """Whether the QorSync source can be there: a server is named, or the local file exists."""
        location = self.settings.relational
        return "://" in location or (self.home / location).is_file()

    @property
    def first_month(self) -> str:
        """First month of QorSync that is exported."""
        return self.config(PartitionsConfig, PARTITIONS).first_month

    def qorsync_months(self, changed_after: str | None = None) -> "list[MonthState]":
        """Months of QorSync that hold rows (with a watermark: changes after it), in order; asks no other store."""
        from sap_llm.sources.qorsync_headers import Headers

        headers = Headers(self.path(self.settings.relational), first_month=self.first_month)
        with headers.snapshot() as snapshot:
            return snapshot.months(changed_after)

    @contextmanager
    def qorsync(self) -> Iterator["QorSync"]:
        """What `sources.qorsync.build_raw_exports` reads; the graph is closed at the end."""
        from sap_llm.sources.qorsync import QorSync

        settings = self.settings
        with self.graph() as graph:
            yield QorSync(
                relational=self.path(settings.relational),
                documents=self.path(settings.documents),
                blobs=self.path(settings.blobs),
                graph=graph,
                first_month=self.first_month,
                work=self.work_folder,
            )

    def desk(self) -> "Desk":
        """Where people answer: `LABEL_STUDIO_URL` with `LABEL_STUDIO_API_KEY`, else the profile's."""
        place = os.environ.get("LABEL_STUDIO_URL") or self.settings.annotation
        if "://" in place:
            from sap_llm.annotation.label_studio_desk import LabelStudioDesk

            return LabelStudioDesk(
                place, token=os.environ.get("LABEL_STUDIO_API_KEY") or self.settings.annotation_token
            )
        from sap_llm.annotation.file_desk import FileDesk

        return FileDesk(self.home / place)

    @property
    def alert_webhook(self) -> "Webhook | None":
        """Where alerts are sent: `SAP_LLM_ALERT_WEBHOOK`, else the profile's; None for nowhere."""
        from sap_llm.monitoring.webhook import Webhook

        url = os.environ.get("SAP_LLM_ALERT_WEBHOOK") or self.settings.alert_webhook
        return Webhook(url) if url else None

    def vectors(self) -> "QdrantClient":
        """A Qdrant client; local mode locks its folder, so close it after use."""
        from qdrant_client import QdrantClient

        if "://" in self.settings.vectors:
            return QdrantClient(url=self.settings.vectors)
        folder = self.home / self.settings.vectors
        folder.mkdir(parents=True, exist_ok=True)
        return QdrantClient(path=str(folder))


def configs_folder() -> Path:
    """`SAP_LLM_CONFIGS`, else the folder shipped in the wheel, else the checkout's `configs/`."""
    if named := os.environ.get("SAP_LLM_CONFIGS"):
        return Path(named)
    package = Path(__file__).parent
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parent / "configs"


def home_folder() -> Path:
    """`SAP_LLM_HOME`, else the checkout, else the current folder; data lie below it."""
    if named := os.environ.get("SAP_LLM_HOME"):
        return Path(named).resolve()
    checkout = Path(__file__).parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


Model = TypeVar("Model", bound=BaseModel)


def _load(model: type[Model], path: Path, overrides: Mapping[str, Any], *, keep_unset: bool = False) -> Model:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigurationError(
            "the profile lacks this stage", where=str(path), remedy="Copy the file from configs/tiny and adapt it."
        ) from None
    except yaml.YAMLError as error:
        raise ConfigurationError("not valid YAML", where=str(path), remedy=str(error)) from error
    for dotted, value in overrides.items():
        _set(values, dotted, value)
    try:
        return model.model_validate(_with_environment(values, path, keep_unset=keep_unset))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"{key}: {first['msg']}", where=str(path), remedy=f"Known keys: {', '.join(model.model_fields)}."
        ) from error


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def _with_environment(value: Any, path: Path, *, keep_unset: bool) -> Any:
    if isinstance(value, dict):
        return {key: _with_environment(item, path, keep_unset=keep_unset) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_environment(item, path, keep_unset=keep_unset) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ and keep_unset:
            return match.group(0)
        if name not in os.environ:
            raise ConfigurationError(f"environment variable {name} is not set", where=str(path), remedy="Set it.")
        return os.environ[name]

    return _VARIABLE.sub(replace, value)
