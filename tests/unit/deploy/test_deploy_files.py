"""The cluster's files as far as they can be judged without a cluster: real dagster-k8s, real Kubernetes schema."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
STEP_PODS: Mapping[str, Any] = yaml.safe_load((ROOT / "deploy/step-pods.yaml").read_text())
VALUES: Mapping[str, Any] = yaml.safe_load((ROOT / "deploy/values.yaml").read_text())


def step_job(config: Mapping[str, Any]) -> dict[str, Any]:
    """The Kubernetes job that dagster-k8s makes of a `dagster-k8s/config`."""
    from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    job = construct_dagster_k8s_job(
        job_config=DagsterK8sJobConfig(
            job_image="registry.example.com/sap-llm:0.1.0",
            dagster_home="/opt/dagster/dagster_home",
            instance_config_map="dagster-instance",
            postgres_password_secret="dagster-postgresql",
        ),
        args=["dagster", "api", "execute_step"],
        job_name="dagster-step-1",
        user_defined_k8s_config=UserDefinedDagsterK8sConfig.from_dict(dict(config)),
        component="step_worker",
    )
    made: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return made


@pytest.mark.parametrize("pool", sorted(STEP_PODS))
def test_step_pods_fit_the_kubernetes_schema(pool: str) -> None:
    import kubernetes_validate

    job = step_job(STEP_PODS[pool])
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    pod = job["spec"]["template"]["spec"]
    wanted = STEP_PODS[pool]["container_config"]["resources"]
    assert pod["containers"][0]["resources"]["requests"] == wanted["requests"]
    assert job["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize(
    "config",
    [{"terminationGracePeriodSeconds": "soon"}, {"tolerance": []}, {"tolerations": [{"keys": "nvidia.com/gpu"}]}],
    ids=str,
)
def test_a_wrong_pod_would_be_noticed(config: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"soon|tolerance|keys"):
        step_job({"pod_spec_config": config})


def test_run_pods_fit_the_kubernetes_schema() -> None:
    import kubernetes_validate

    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    snake = {
        "container_config": launcher["containerConfig"],
        "pod_spec_config": launcher["podSpecConfig"],
        "job_spec_config": launcher["jobSpecConfig"],
    }
    job = step_job(snake)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    assert job["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


def test_pools_are_those_that_ops_ask_for() -> None:
    used = {
        line.split('pool="', 1)[1].split('"', 1)[0]
        for folder in ("assets", "jobs", "sensors")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if 'pool="' in line
    }
    assert used <= set(STEP_PODS), "a pool has no pod settings in deploy/step-pods.yaml"
    assert "gpu" in used


def test_no_secret_stands_in_the_files() -> None:
    def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from leaves(inner, str(name))
        elif isinstance(value, list):
            for inner in value:
                yield from leaves(inner, key)
        else:
            yield key, value

    named = [key for key, value in leaves(VALUES) if "password" in key.lower() and isinstance(value, str)]
    assert named == []


def _deployment(monkeypatch: pytest.MonkeyPatch) -> Any:
    import re

    from sap_llm.deployment import Deployment

    text = (ROOT / "configs/cluster/deployment.yaml").read_text()
    for name in re.findall(r"\$\{([A-Z0-9_]+)\}", text):
        monkeypatch.setenv(name, f"value-of-{name.lower()}")
    monkeypatch.setenv("SAP_LLM_SPARK_MASTER", "k8s://https://kubernetes.default.svc")
    return Deployment("cluster", home=ROOT, configs=ROOT / "configs")


def test_the_executor_pod_fits_the_kubernetes_schema_and_the_settings_that_name_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import kubernetes_validate

    spark = _deployment(monkeypatch).spark
    assert spark.master.startswith("k8s://")
    template = spark.options["spark.kubernetes.executor.podTemplateFile"]
    pod = yaml.safe_load((ROOT / template.removeprefix("/app/")).read_text())
    container = pod["spec"]["containers"][0]
    assert container["name"] == spark.options["spark.kubernetes.executor.podTemplateContainerName"]
    # Spark completes the template from its settings before it is sent.
    completed = pod | {"metadata": pod["metadata"] | {"name": "executor-1"}}
    container["image"] = spark.options["spark.kubernetes.container.image"]
    kubernetes_validate.validate(completed, kubernetes_validate.latest_version(), strict=True)


def test_the_rights_of_the_driver_fit_the_kubernetes_schema() -> None:
    import kubernetes_validate

    rights = yaml.safe_load((ROOT / "deploy/spark-rights.yaml").read_text())["items"]
    for item in rights:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    account = rights[0]["metadata"]["name"]
    assert STEP_PODS["spark"]["pod_spec_config"]["serviceAccountName"] == account
