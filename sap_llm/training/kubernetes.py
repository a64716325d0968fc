"""Training programs as TrainJobs of Kubeflow Trainer v2: some nodes, all their GPUs, one program.

Belongs here: submitting a job, watching it and ending it. The object itself is `train_job`, what is common to all
places is `trainer`. No cluster was at hand: the calls were tried against a server that speaks the same paths, see
deploy/README.md.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sap_llm.schema.errors import SapLlmError, SourceError
from sap_llm.training.exits import worst
from sap_llm.training.memory import GIB
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.train_job import GROUP, NODE, VERSION, VERSION_LABEL, train_job
from sap_llm.training.trainer import LOG, Run
from sap_llm.training.trainer_config import KubernetesTrainerConfig

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, CustomObjectsApi

PLURAL = "trainjobs"
_TAIL_LINES = 60
_NOT_FOUND = 404
_UNREACHABLE_SECONDS = 600.0  # so long the API server may be away before the run counts as lost
_LAST_WORDS_SECONDS = 15.0  # of a failed job, for all its pods to end
_GONE_SECONDS = 60.0  # beyond the pods' own grace, for the controllers


class ClusterError(SapLlmError):
    """The cluster refused a job, or lost it."""


class ClusterAwayError(SourceError):
    """The API server does not answer; it may in a moment, so the step is tried again."""


class KubernetesTrainer:
    """A namespace of a cluster with Kubeflow Trainer v2."""

    def __init__(self, config: KubernetesTrainerConfig, *, storage_options: Mapping[str, str] | None = None) -> None:
        self._config, self._storage = config, dict(storage_options or {})

    @property
    def messages(self) -> str:
        """Object store of context and messages."""
        return self._config.pipes

    @property
    def poll_seconds(self) -> float:
        """As configured."""
        return self._config.poll_seconds

    def card_bytes(self) -> float | None:
        """As configured: the step's pod has no card to ask."""
        return self._config.card_gib * GIB or None

    def describe(self, plan: TrainingPlan[Any]) -> str:
        """The TrainJob as YAML."""
        import yaml

        return str(yaml.safe_dump(train_job(plan, self._config, environment=self._endpoint()), sort_keys=False))

    @contextmanager
    def started(self, plan: TrainingPlan[Any], environment: Mapping[str, str]) -> Iterator[Run]:
        """Submit the job; leaving the context deletes it and waits until its pods are gone.

        A job of the same plan that an earlier step left behind is deleted first: two would write the same checkpoints.

        Raises:
            ClusterError: The cluster refused it.
        """
        objects, pods = self._clients()
        selector = f"{VERSION_LABEL}={plan.version}"
        job = train_job(plan, self._config, environment={**environment, **self._endpoint()})
        run = TrainJobRun(objects, pods, self._config, selector=selector, plan=plan)
        run.delete()
        plan.exit_code_file.unlink(missing_ok=True)
        try:
            run.submit(job)
            yield run
        finally:
            run.delete()

    def _endpoint(self) -> dict[str, str]:
        endpoint = self._storage.get("endpoint_url")
        return {"AWS_ENDPOINT_URL_S3": endpoint} if endpoint else {}

    def _clients(self) -> "tuple[CustomObjectsApi, CoreV1Api]":
        from kubernetes import client, config

        try:
            if self._config.kubeconfig:
                config.load_kube_config(self._config.kubeconfig)
            else:
                config.load_config()
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                f"no way to the cluster: {error}", where="trainer.kubeconfig", remedy="Name a kubeconfig that is there."
            ) from error
        return client.CustomObjectsApi(), client.CoreV1Api()


class TrainJobRun:
    """One submitted job, seen through the Kubernetes API."""

    def __init__(
        self,
        objects: "CustomObjectsApi",
        pods: "CoreV1Api",
        config: KubernetesTrainerConfig,
        *,
        selector: str,
        plan: TrainingPlan[Any],
    ) -> None:
        self._objects, self._pods, self._config, self._selector = objects, pods, config, selector
        self._log_file, self._exit_code_file = Path(plan.work) / LOG, plan.exit_code_file
        self._name = ""
        self._submitted_at = self._seen_at = time.monotonic()
        self._has_started = False

    @property
    def has_started(self) -> bool:
        """Whether nodes were ready at the last look."""
        return self._has_started

    def submit(self, job: Mapping[str, Any]) -> None:
        """Create the job.

        Raises:
            ClusterError: The API server or an admission webhook refused it, with its words.
        """
        from kubernetes.client import ApiException

        try:
            self._objects.create_namespaced_custom_object(GROUP, VERSION, self._config.namespace, PLURAL, job)
        except ApiException as error:
            raise ClusterError(
                f"the cluster refused the TrainJob ({error.status}): {_message(error)}",
                where=self._config.namespace,
                remedy="See deploy/README.md: Kubeflow Trainer v2, the runtime, and the rights of the service account.",
            ) from error
        self._name = str(job["metadata"]["name"])
        self._submitted_at = self._seen_at = time.monotonic()

    def code(self) -> int | None:
        """0 when the job is complete, the worst exit code of its pods when it failed, None while it runs.

        Raises:
            ClusterError: The job is gone, or its nodes did not come.
            ClusterAwayError: The API server was away for ten minutes.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            job = self._objects.get_namespaced_custom_object(GROUP, VERSION, self._config.namespace, PLURAL, self._name)
            self._seen_at = time.monotonic()
        except (ApiException, HTTPError) as error:
            self._require_answer(error)
            return None
        if job["metadata"].get("deletionTimestamp"):
            raise self._deleted()
        conditions = {entry["type"]: entry for entry in job.get("status", {}).get("conditions", [])}
        if _is_true(conditions, "Complete"):
            return 0
        if _is_true(conditions, "Failed"):
            return worst(self._exit_codes()) or 1
        self._require_start(job)
        return None

    def log_end(self) -> str:
        """The last lines of every pod that failed, else of the first node's; also kept in the plan's log."""
        from kubernetes.client import ApiException

        parts = []
        with suppress(ApiException):
            pods = self._list()
            failed = [pod for pod in pods if worst(_codes(pod))]
            for pod in failed or pods[:1]:
                name = pod.metadata.name
                answer = self._pods.read_namespaced_pod_log(
                    name, self._config.namespace, container=NODE, tail_lines=_TAIL_LINES, _preload_content=False
                )  # decoded by the client, bytes would come as the text of their repr
                reasons = "".join(f" ({reason})" for reason in _reasons(pod))
                parts.append(f"{name}{reasons}:\n{answer.data.decode(errors='replace').strip()}")
        text = "\n\n".join(parts)
        with self._log_file.open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")
        return text

    def delete(self) -> None:
        """Delete every job of the plan and wait until no pod is left; each gets TERM and its grace for a checkpoint.

        Raises:
            ClusterAwayError: The API server did not answer, so something may still run.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._delete_all()
        except (ApiException, HTTPError) as error:
            raise self._away(error) from error

    def _delete_all(self) -> None:
        from kubernetes.client import ApiException

        jobs = self._objects.list_namespaced_custom_object(
            GROUP, VERSION, self._config.namespace, PLURAL, label_selector=self._selector
        )["items"]
        for job in jobs:
            try:
                self._objects.delete_namespaced_custom_object(
                    GROUP, VERSION, self._config.namespace, PLURAL, job["metadata"]["name"],
                    propagation_policy="Foreground",
                )  # fmt: skip
            except ApiException as error:
                if error.status != _NOT_FOUND:
                    raise
        if not jobs:
            return
        end = time.monotonic() + self._config.grace_seconds + _GONE_SECONDS
        while time.monotonic() < end:
            if not self._list():
                return
            time.sleep(min(1.0, self._config.poll_seconds))
        for pod in self._list():
            with suppress(ApiException):
                self._pods.delete_namespaced_pod(pod.metadata.name, self._config.namespace, grace_period_seconds=0)

    def _require_answer(self, error: Exception) -> None:
        status = getattr(error, "status", None)
        if status == _NOT_FOUND:
            raise self._deleted() from error
        if time.monotonic() - self._seen_at > _UNREACHABLE_SECONDS:
            raise self._away(error) from error

    def _away(self, error: Exception) -> ClusterAwayError:
        return ClusterAwayError(
            f"the API server did not answer for {time.monotonic() - self._seen_at:.0f} s: {error}",
            where=self._config.namespace,
            remedy="Materialise again when it is back; a job that still runs is ended first.",
        )

    def _deleted(self) -> ClusterError:
        return ClusterError(
            f"TrainJob {self._name} is gone: somebody deleted it",
            where=self._config.namespace,
            remedy="Materialise again to resume from the newest checkpoint.",
        )

    def _require_start(self, job: Mapping[str, Any]) -> None:
        """All nodes must be ready within `start_seconds`; half a job would hold its GPUs for nothing."""
        if self._has_started:
            return
        statuses = job.get("status", {}).get("jobsStatus", [])
        nodes = job["spec"]["trainer"]["numNodes"]
        self._has_started = any(
            entry["name"] == NODE and (entry.get("ready", 0) or entry.get("succeeded", 0)) for entry in statuses
        )
        if not self._has_started and time.monotonic() - self._submitted_at > self._config.start_seconds:
            raise ClusterError(
                f"{nodes} nodes were not ready within {self._config.start_seconds:.0f} s",
                where=f"{self._config.namespace}/{self._name}",
                remedy="Look at the pods' events: mostly too few free GPUs, a node selector or a volume.",
            )

    def _exit_codes(self) -> list[int]:
        """Of the pods, and what a rank said of itself; its peers fail first, and its pod is ended while it ends."""
        end = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < end and not (
            self._exit_code_file.exists() or all(_codes(pod) for pod in self._list())
        ):
            time.sleep(min(1.0, self._config.poll_seconds))
        codes = [code for pod in self._list() for code in _codes(pod)]
        return [*codes, int(self._exit_code_file.read_text())] if self._exit_code_file.exists() else codes

    def _list(self) -> list[Any]:
        return list(self._pods.list_namespaced_pod(self._config.namespace, label_selector=self._selector).items)


def _is_true(conditions: Mapping[str, Any], name: str) -> bool:
    return bool(conditions.get(name, {}).get("status") == "True")


def _codes(pod: Any) -> list[int]:
    ended = [status.state.terminated for status in pod.status.container_statuses or [] if status.state.terminated]
    return [int(state.exit_code) for state in ended]


def _reasons(pod: Any) -> list[str]:
    ended = [status.state.terminated for status in pod.status.container_statuses or [] if status.state.terminated]
    return [str(state.reason) for state in ended if state.reason]


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
