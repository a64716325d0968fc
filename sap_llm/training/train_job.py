"""The TrainJob of a plan: the object that Kubeflow Trainer v2 takes.

Belongs here: from plan and deployment to the object, checked against the API's models. Submitting it is `kubernetes`;
the runtime that it refers to is deploy/training-runtime.yaml.

In every pod DeepSpeed's node launcher starts the ranks, as it does on one machine: unlike torchrun it ends with the
exit code of the rank that failed, and so does the pod.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.launch import environment_of, program_arguments
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.trainer_config import KubernetesTrainerConfig

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
VERSION_LABEL = "sap-llm/version"
NODE = "node"  # replicated job and container, as Kubeflow Trainer names them for torch
_MANAGER = "sap-llm"  # of our patch of the runtime


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
            "containers": [{"name": NODE, "volumeMounts": mounts}],
            "terminationGracePeriodSeconds": config.grace_seconds,
        },
    }
    jobs = [{"name": NODE, "template": {"spec": {"template": pod}}}]
    return {"manager": _MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}


def _leaves(value: Any, path: str = "") -> set[str]:
    """Paths of all values, with them."""
    if isinstance(value, Mapping):
        return {leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}")}
    if isinstance(value, list):
        return {leaf for place, item in enumerate(value) for leaf in _leaves(item, f"{path}[{place}]")}
    return {f"{path.lstrip('.')} = {value!r}"}
