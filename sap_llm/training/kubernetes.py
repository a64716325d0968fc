"""Training programs as TrainJobs of Kubeflow Trainer v2: some nodes, all their GPUs, one program.

Belongs here: the TrainJob's object, submitting and watching it, and ending it. What is common to all places is
`trainer`; the runtime that the job refers to is deploy/training-runtime.yaml. No cluster was at hand: the objects are
checked against their schema and the calls against a server that speaks the same paths (deploy/README.md).

In every pod DeepSpeed's node launcher starts the ranks, as it does on one machine: unlike torchrun it ends with the
exit code of the rank that failed, and so does the pod.
"""

import base64
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sap_llm.schema.errors import ConfigurationError, SapLlmError
from sap_llm.training.exits import worst
from sap_llm.training.launch import environment_of, program_arguments
from sap_llm.training.memory import GIB
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.trainer import Run
from sap_llm.training.trainer_config import KubernetesTrainerConfig

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, CustomObjectsApi

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
MANAGER = "sap-llm"  # of our patch of the runtime
VERSION_LABEL = "sap-llm/version"
_CONTAINER = _REPLICATED_JOB = "node"  # as Kubeflow Trainer names them for torch
_TAIL_LINES = 60
_NOT_FOUND = 404
_UNREACHABLE_SECONDS = 600.0  # so long the API server may be away before the run counts as lost
_GONE_SECONDS = 60.0  # beyond the pods' own grace, for the controllers


class ClusterError(SapLlmError):
    """The cluster refused a job, or could not be reached."""


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
        run = TrainJobRun(objects, pods, self._config, selector=selector)
        run.delete()
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
        self, objects: "CustomObjectsApi", pods: "CoreV1Api", config: KubernetesTrainerConfig, *, selector: str
    ) -> None:
        self._objects, self._pods, self._config, self._selector = objects, pods, config, selector
        self._name = ""
        self._submitted_at = self._seen_at = time.monotonic()
        self._has_started = False

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
            ClusterError: The API server was away for ten minutes, the job is gone, or its nodes did not come.
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
        """The last lines of every pod that failed, else of the first node's."""
        from kubernetes.client import ApiException

        parts = []
        with suppress(ApiException):
            pods = self._list()
            failed = [pod for pod in pods if worst(_codes(pod))]
            for pod in failed or pods[:1]:
                name = pod.metadata.name
                answer = self._pods.read_namespaced_pod_log(
                    name, self._config.namespace, container=_CONTAINER, tail_lines=_TAIL_LINES, _preload_content=False
                )  # decoded by the client, bytes would come as the text of their repr
                reasons = "".join(f" ({reason})" for reason in _reasons(pod))
                parts.append(f"{name}{reasons}:\n{answer.data.decode(errors='replace').strip()}")
        return "\n\n".join(parts)

    def delete(self) -> None:
        """Delete every job of the plan and wait until no pod is left; each gets TERM and its grace for a checkpoint."""
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
            raise ClusterError(
                f"the API server did not answer for {_UNREACHABLE_SECONDS / 60:.0f} minutes: {error}",
                where=self._config.namespace,
                remedy="Materialise again when it is back; a job that still runs is ended first.",
            ) from error

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
            entry["name"] == _REPLICATED_JOB and (entry.get("ready", 0) or entry.get("succeeded", 0))
            for entry in statuses
        )
        if not self._has_started and time.monotonic() - self._submitted_at > self._config.start_seconds:
            raise ClusterError(
                f"{nodes} nodes were not ready within {self._config.start_seconds:.0f} s",
                where=f"{self._config.namespace}/{self._name}",
                remedy="Look at the pods' events: mostly too few free GPUs, a node selector or a volume.",
            )

    def _exit_codes(self) -> list[int]:
        return [code for pod in self._list() for code in _codes(pod)]

    def _list(self) -> list[Any]:
        return list(self._pods.list_namespaced_pod(self._config.namespace, label_selector=self._selector).items)


def train_job(
    plan: TrainingPlan[Any], config: KubernetesTrainerConfig, *, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The TrainJob of a plan, as the API takes it.

    Raises:
        ConfigurationError: The ranks do not fill whole nodes, no volume holds the work folder, or the configuration
            has something that is no part of a TrainJob.
    """
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    nodes = _nodes(plan, config)
    limits = {"nvidia.com/gpu": str(config.gpus_per_node), "memory": config.memory_per_node, **config.further_resources}
    labels = {VERSION_LABEL: plan.version, "sap-llm/stage": plan.stage}
    wanted = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {
            "name": f"train-{plan.version[:12]}-{uuid.uuid4().hex[:6]}",  # pods add to it, within 63 characters
            "namespace": config.namespace,
            "labels": labels,
            "annotations": {"sap-llm/dataset": plan.name},
        },
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": config.runtime},
            "trainer": {
                "image": config.image,
                "command": _node_launcher(plan, config, nodes),
                "env": _variables(plan, config, environment),
                "numNodes": nodes,
                "numProcPerNode": config.gpus_per_node,
                "resourcesPerNode": {"requests": {**limits, "cpu": config.cpus_per_node}, "limits": limits},
            },
            "runtimePatches": [_patch(config, labels)],
        },
    }
    # The models take what they know and drop the rest without a word.
    made = TrainerV1alpha1TrainJob.from_dict(wanted)
    result = dict(made.to_dict()) if made is not None else {}
    if lost := sorted(_leaves(wanted) - _leaves(result)):
        raise ConfigurationError(
            f"a TrainJob has no {lost[0]}", where="trainer", remedy="Write it as in a pod of the Kubernetes API."
        )
    return result


def _nodes(plan: TrainingPlan[Any], config: KubernetesTrainerConfig) -> int:
    ranks = int(plan.config.launch.ranks)
    nodes, rest = divmod(ranks, config.gpus_per_node)
    if rest or not nodes:
        raise ConfigurationError(
            f"launch.ranks is {ranks}, and a node has {config.gpus_per_node} GPUs",
            where="trainer.gpus_per_node",
            remedy="Take a multiple, or set trainer.gpus_per_node to what a pod shall get.",
        )
    work = Path(plan.work)
    if not any(work.is_relative_to(volume.path) for volume in config.volumes):
        raise ConfigurationError(
            f"no volume of the training pods holds {work}",
            where="trainer.volumes",
            remedy="Mount the volume of the deployment's work folder at the same path on all nodes.",
        )
    return nodes


def _node_launcher(plan: TrainingPlan[Any], config: KubernetesTrainerConfig, nodes: int) -> list[str]:
    """DeepSpeed's node launcher; Kubernetes puts in what Kubeflow Trainer says of this pod."""
    world = {f"node-{node}": list(range(config.gpus_per_node)) for node in range(nodes)}
    encoded = base64.urlsafe_b64encode(json.dumps(world).encode()).decode()
    launcher = ["python", "-m", "deepspeed.launcher.launch", f"--world_info={encoded}"]
    launcher += ["--node_rank=$(PET_NODE_RANK)", "--master_addr=$(PET_MASTER_ADDR)", "--master_port=$(PET_MASTER_PORT)"]
    return [*launcher, "--module", *program_arguments(plan)]


def _variables(
    plan: TrainingPlan[Any], config: KubernetesTrainerConfig, environment: Mapping[str, str]
) -> list[dict[str, str]]:
    ours = {name: value for name, value in environment_of(plan.config.launch).items() if name != "PATH"}
    # nothing of a certain network: which interface, InfiniBand or EFA is the cluster's configuration
    values = {"NCCL_DEBUG": "WARN", **config.environment, **environment, **ours}
    return [{"name": name, "value": value} for name, value in values.items()]


def _patch(config: KubernetesTrainerConfig, labels: Mapping[str, str]) -> dict[str, Any]:
    """What the runtime's pods get from us: where they run, their disks, their time to end, and our labels."""
    mounts = [{"name": volume.name, "mountPath": volume.path} for volume in config.volumes]
    pod = {
        "metadata": {"labels": dict(labels)},
        "spec": {
            "nodeSelector": dict(config.node_selector),
            "tolerations": [dict(entry) for entry in config.tolerations],
            "volumes": [{"name": volume.name, **volume.source} for volume in config.volumes],
            "containers": [{"name": _CONTAINER, "volumeMounts": mounts}],
            "terminationGracePeriodSeconds": config.grace_seconds,
        },
    }
    jobs = [{"name": _REPLICATED_JOB, "template": {"spec": {"template": pod}}}]
    return {"manager": MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}


def _leaves(value: Any, path: str = "") -> set[str]:
    """Paths of all values, with them."""
    if isinstance(value, Mapping):
        return {leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}")}
    if isinstance(value, list):
        return {leaf for place, item in enumerate(value) for leaf in _leaves(item, f"{path}[{place}]")}
    return {f"{path.lstrip('.')} = {value!r}"}


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
