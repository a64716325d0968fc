"""Where training programs run: the deployment's key `trainer`.

Belongs here: one pydantic model per kind of place, importable without any client. What they do is `trainer` and
`kubernetes`; how the program is run there (ranks, sharding, types) is each stage's `launch`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Place(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    card_gib: float = Field(
        default=0.0, ge=0.0, description="memory of one GPU for the planner; 0: ask the driver of this machine"
    )


class LocalTrainerConfig(_Place):
    """This machine: CPU ranks or its GPUs."""

    kind: Literal["local"] = "local"


class HostsTrainerConfig(_Place):
    """Hosts that DeepSpeed's launcher reaches by ssh from the first of them."""

    kind: Literal["hosts"]
    hostfile: str = Field(description="`name slots=8` a line; below home, or absolute")


class VolumeConfig(BaseModel):
    """A volume of the cluster, mounted in every training pod."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str = Field(description="where it is mounted; the same path as in the step's pod")
    source: dict[str, Any] = Field(description="as in a pod, e.g. {persistentVolumeClaim: {claimName: work}}")


class KubernetesTrainerConfig(_Place):
    """A TrainJob of Kubeflow Trainer v2."""

    kind: Literal["kubernetes"]
    namespace: str
    image: str
    runtime: str = Field(description="TrainingRuntime of the namespace, as deploy/training-runtime.yaml")
    gpus_per_node: int = Field(default=8, ge=1)
    cpus_per_node: str = "64"
    memory_per_node: str = "1024Gi"
    further_resources: dict[str, str] = Field(default={}, description="e.g. {rdma/hca: '8'} where the cluster has it")
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    volumes: list[VolumeConfig] = Field(description="one of them holds the deployment's work folder, for all nodes")
    environment: dict[str, str] = Field(default={}, description="e.g. NCCL_SOCKET_IFNAME of this cluster")
    pipes: str = Field(description="s3:// URL below which Dagster's context and the program's messages lie")
    kubeconfig: str = Field(default="", description="file; empty: the pod's service account, else the user's default")
    poll_seconds: float = Field(default=10.0, gt=0.0)
    start_seconds: float = Field(default=3600.0, description="wait so long for all nodes, then give up and delete")
    grace_seconds: int = Field(default=300, description="between TERM and KILL of a pod: time for a checkpoint")


TrainerConfig = Annotated[
    LocalTrainerConfig | HostsTrainerConfig | KubernetesTrainerConfig, Field(discriminator="kind")
]
