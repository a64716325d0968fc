"""Steps as pods of their own: dagster-k8s' executor, with each step's pod by its pool or kind.

Belongs here: what only a deployment on Kubernetes has in its definitions. The pods are data, in deploy/step-pods.yaml;
the run's own pod and the instance are the Helm chart's (deploy/values.yaml). Training programs run in no step's pod but
in a TrainJob, see `sap_llm.training.kubernetes`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from sap_llm.deployment import Deployment

PODS = Path(__file__).parent.parent / "deploy" / "step-pods.yaml"
DEFAULT, SPARK = "default", "spark"
_SPARK_KINDS = {"dagster/kind/spark"}


def cluster_executor(
    deployment: Deployment, assets: Sequence[Any], jobs: Sequence[Any]
) -> dg.ExecutorDefinition | None:
    """dagster-k8s' executor where the deployment asks for it; None for processes of the run's own machine."""
    if deployment.settings.executor != "kubernetes":
        return None
    from dagster_k8s import k8s_job_executor

    pods = yaml.safe_load(PODS.read_text(encoding="utf-8"))
    steps = {name: pods[kind] for name, kind in step_kinds(assets, jobs).items() if kind != DEFAULT}
    return k8s_job_executor.configured(
        {"step_k8s_config": pods[DEFAULT], "per_step_k8s_config": steps}, name="kubernetes"
    )


def cluster_resources(deployment: Deployment) -> dict[str, Any]:
    """What is passed between steps must be where all pods can read it: on the volume of the work folder."""
    if deployment.settings.executor != "kubernetes":
        return {}
    folder = deployment.home / deployment.settings.work / "dagster"
    return {"io_manager": dg.FilesystemIOManager(base_dir=str(folder))}


def step_kinds(assets: Sequence[Any], jobs: Sequence[Any]) -> Mapping[str, str]:
    """Op name -> entry of step-pods.yaml: the op's pool, `spark` for an asset of that kind, else the default."""
    kinds: dict[str, str] = {}
    for asset in assets:
        if not isinstance(asset, dg.AssetsDefinition):
            continue
        is_spark = any(_SPARK_KINDS & set(spec.tags) for spec in asset.specs)
        for op in _ops(asset.node_def):
            kinds[op.name] = op.pool or (SPARK if is_spark else DEFAULT)
    for job in jobs:
        if isinstance(job, dg.JobDefinition):
            kinds |= {op.name: op.pool or DEFAULT for op in _ops(job.graph)}
    return kinds


def _ops(node: Any) -> Iterator[dg.OpDefinition]:
    if isinstance(node, dg.OpDefinition):
        yield node
    elif isinstance(node, dg.GraphDefinition):
        for inner in node.node_defs:
            yield from _ops(inner)
