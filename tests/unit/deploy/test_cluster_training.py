"""How the cluster trains, as far as it can be judged without one: schemas, dagster-k8s' own loaders and builders."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.multitask import MULTITASK_MODEL
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.preview import preview, preview_plan
from sap_llm.training.train_job import train_job
from sap_llm.training.trainer_config import KubernetesTrainerConfig
from sap_llm_dagster.build import build_defs
from tests.unit.deploy.test_deploy_files import ROOT, STEP_PODS, VALUES, step_job

CRD = os.environ.get("TRAINJOB_CRD")  # manifests/base/crds/trainer.kubeflow.org_trainjobs.yaml of kubeflow/trainer


@pytest.fixture
def deployment() -> Deployment:
    return Deployment("cluster", home=ROOT, configs=ROOT / "configs", is_preview=True)


def trainer_of(deployment: Deployment, **changes: Any) -> KubernetesTrainerConfig:
    settings = deployment.settings.trainer
    assert isinstance(settings, KubernetesTrainerConfig)
    return settings.model_copy(update=changes)


def plan_of(deployment: Deployment, **launch: Any) -> TrainingPlan[Any]:
    overrides = {f"launch.{key}": value for key, value in launch.items()}
    config = deployment.config(MULTITASK_MODEL.config, MULTITASK_MODEL.name, overrides)
    return preview_plan(MULTITASK_MODEL, config, release="r1", work=deployment.home / deployment.settings.work)


def test_the_train_job_is_two_nodes_of_eight_with_everything_in_its_place(deployment: Deployment) -> None:
    job = train_job(plan_of(deployment), trainer_of(deployment), environment={"DAGSTER_PIPES_CONTEXT": "x"})
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "8"
    variables = {entry["name"]: entry["value"] for entry in trainer["env"]}
    assert variables["DAGSTER_PIPES_CONTEXT"] == "x"
    assert variables["DS_ACCELERATOR"] == "cuda"
    assert not {name for name in variables if name.startswith(("PET_", "FI_", "NCCL_IB", "NCCL_NET"))}
    assert len(job["metadata"]["name"]) < 40


def pod_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a node's pod is when runtime, patch and trainer are put together, as Kubeflow Trainer does."""
    runtime = yaml.safe_load((ROOT / "deploy/training-runtime.yaml").read_text())
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    spec = node["template"]["spec"]["template"]["spec"]
    trainer = job["spec"]["trainer"]
    (patch,) = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    patched = patch["template"]["spec"]["template"]["spec"]
    assert patch["name"] == node["name"] == "node"
    (container,), (patched_container,) = spec["containers"], patched["containers"]
    assert container["name"] == patched_container["name"]
    merged = {**container, **patched_container, "image": trainer["image"], "command": trainer["command"]}
    merged |= {"env": trainer["env"], "resources": trainer["resourcesPerNode"]}
    pod = {**spec, **patched, "containers": [merged]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node-0"}, "spec": pod}


def test_the_pods_of_the_train_job_fit_the_kubernetes_schema(deployment: Deployment) -> None:
    import kubernetes_validate

    pod = pod_of(train_job(plan_of(deployment), trainer_of(deployment), environment={}))
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    assert pod["spec"]["restartPolicy"] == "Never"
    assert {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]} == {
        "/shared/work",
        "/dev/shm",
    }


def test_the_runtime_fits_the_models_of_the_api() -> None:
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainingRuntime

    runtime = yaml.safe_load((ROOT / "deploy/training-runtime.yaml").read_text())
    made = TrainerV1alpha1TrainingRuntime.from_dict(runtime)
    assert made is not None
    assert made.to_dict() == runtime  # the models drop what they do not know


@pytest.mark.skipif(CRD is None, reason="TRAINJOB_CRD names no schema; the API's models are tested without")
def test_the_train_job_fits_the_schema_of_the_custom_resource(deployment: Deployment) -> None:
    import jsonschema

    (version,) = yaml.safe_load(Path(str(CRD)).read_text())["spec"]["versions"]
    schema = closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    job = train_job(plan_of(deployment), trainer_of(deployment), environment={})
    jsonschema.Draft7Validator(schema).validate(job["spec"])


def closed(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name, as the API server prunes it."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    is_either = "x-kubernetes-int-or-string" in schema
    result = {key: closed(value) for key, value in schema.items() if key != "type" or not is_either}
    is_object = schema.get("type") == "object" and "properties" in schema
    return result | ({"additionalProperties": False} if is_object and "additionalProperties" not in schema else {})


@pytest.mark.parametrize(
    ("launch", "changes", "what"),
    [
        ({"ranks": 12}, {}, "launch.ranks is 12"),
        ({}, {"volumes": []}, "no volume of the training pods holds"),
        ({}, {"tolerations": [{"keys": "nvidia.com/gpu"}]}, r"tolerations\[0\].keys"),
    ],
)
def test_what_cannot_be_a_job_is_refused_before_the_cluster_sees_it(
    deployment: Deployment, launch: dict[str, Any], changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigurationError, match=what):
        train_job(plan_of(deployment, **launch), trainer_of(deployment, **changes), environment={})


def test_the_preview_shows_batch_memory_and_job_without_any_server(deployment: Deployment) -> None:
    plan = plan_of(deployment)
    shown = preview(MULTITASK_MODEL, plan, deployment.trainer())
    assert "effective batch 524,288 words = 16 ranks x 1 pieces x 32,768 words" in shown
    assert "left of a card of 79.60 GiB" in shown
    assert "kind: TrainJob" in shown


@pytest.fixture
def cluster_defs(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    import re

    for name in re.findall(r"\$\{([A-Z0-9_]+)\}", (ROOT / "configs/cluster/deployment.yaml").read_text()):
        monkeypatch.setenv(name, "value")
    return build_defs(deployment="cluster")


def test_in_the_cluster_every_step_is_a_pod_by_pool_or_kind(cluster_defs: dg.Definitions) -> None:
    job = cluster_defs.resolve_job_def("train_model")
    assert job.executor_def.name == "kubernetes"
    resolved = job.executor_def.apply_config_mapping({"config": {}})  # as for a run without configuration of its own
    assert resolved.success, resolved.errors
    config = resolved.value["config"]
    steps = config["per_step_k8s_config"]
    assert steps["launch_multitask_model"]["pod_spec_config"]["serviceAccountName"] == "sap-llm-trainer"
    assert steps["training_set"]["pod_spec_config"]["serviceAccountName"] == "sap-llm-spark"
    assert "plan_multitask_model" not in steps
    assert config["step_k8s_config"]["container_config"]["resources"]["requests"]["cpu"] == "2"


def instance_config(values: Mapping[str, Any], kubeconfig: Path) -> dict[str, Any]:
    """The part of dagster.yaml that the Helm chart makes of its values, for the launcher and the daemon."""
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    run = launcher["runK8sConfig"]
    config = {
        "load_incluster_config": False,
        "kubeconfig_file": str(kubeconfig),
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "dagster_home": "/opt/dagster/dagster_home",
        "job_image": "registry.example.com/sap-llm:0.1.0",
        "image_pull_policy": launcher["imagePullPolicy"],
        "env_config_maps": [entry["name"] for entry in launcher["envConfigMaps"]],
        "env_secrets": [entry["name"] for entry in launcher["envSecrets"]],
        "volumes": launcher["volumes"],
        "volume_mounts": launcher["volumeMounts"],
        "run_k8s_config": {
            "container_config": run["containerConfig"],
            "pod_spec_config": run["podSpecConfig"],
            "job_spec_config": run["jobSpecConfig"],
        },
    }
    monitoring = values["dagsterDaemon"]["runMonitoring"]
    return {
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": config},
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
        },
        "concurrency": {"runs": {"max_concurrent_runs": 20}},
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": monitoring["startTimeoutSeconds"],
            "max_runtime_seconds": monitoring["maxRuntimeSeconds"],
            "free_slots_after_run_end_seconds": monitoring["freeSlotsAfterRunEndSeconds"],
        },
        "telemetry": {"enabled": False},
    }


def test_the_instance_of_the_chart_loads_and_its_launcher_makes_valid_jobs(tmp_path: Path) -> None:
    import kubernetes_validate
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    named = {"name": "none"}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "clusters": [named | {"cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [named | {"user": {}}],
                "contexts": [named | {"context": {"cluster": "none", "user": "none"}}],
                "current-context": "none",
            }
        )
    )
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance_config(VALUES, kubeconfig)))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, K8sRunLauncher)
        for kind, pod in STEP_PODS.items():
            run = K8sContainerContext.create_for_run(
                dg.DagsterRun(job_name="train_model"), launcher, include_run_tags=False
            )
            step = run.merge(K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(dict(pod))))
            job = construct_dagster_k8s_job(
                job_config=step.get_k8s_job_config(None, launcher),
                args=["dagster", "api", "execute_step"],
                job_name=f"dagster-step-{kind}",
                user_defined_k8s_config=step.run_k8s_config,
                component="step_worker",
            )
            made = ApiClient().sanitize_for_serialization(job)
            kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)
            spec = made["spec"]["template"]["spec"]
            mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
            assert "/shared/work" in mounts
            assert made["spec"]["backoffLimit"] == 0
            wanted = pod["pod_spec_config"].get("serviceAccountName", "dagster")
            assert spec["serviceAccountName"] == wanted


def test_the_rights_of_the_trainer_fit_the_schema_and_the_step_that_has_them() -> None:
    import kubernetes_validate

    rights = yaml.safe_load((ROOT / "deploy/trainer-rights.yaml").read_text())["items"]
    for item in rights:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    assert STEP_PODS["gpu"]["pod_spec_config"]["serviceAccountName"] == rights[0]["metadata"]["name"]
    assert step_job(STEP_PODS["gpu"])["spec"]["template"]["spec"]["serviceAccountName"] == "sap-llm-trainer"
