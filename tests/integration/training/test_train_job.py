"""TrainJobs against a server that speaks the API's paths, messages through moto's S3; no cluster was at hand."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pytest

from resources.training_pipes import TrainingSession
from sap_llm.schema.errors import SourceError
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.exits import DIVERGED
from sap_llm.training.kubernetes import ClusterAwayError, ClusterError, KubernetesTrainer
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import TrainingStage, make_plan
from sap_llm.training.trainer import LOG, FileSession, Told, TrainingFailedError, run_to_end
from sap_llm.training.trainer_config import KubernetesTrainerConfig, VolumeConfig
from tests.support.cluster import NAMESPACE, Cluster
from tests.support.counting_program import CountingConfig
from tests.support.hungry_program import hungry
from tests.support.toy_training import toy_training_set

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster") as running:
        yield running


def trainer_of(cluster: Cluster, **changes: Any) -> KubernetesTrainerConfig:
    values: dict[str, Any] = {
        "kind": "kubernetes",
        "namespace": NAMESPACE,
        "image": "registry.example.com/sap-llm:0.1.0",
        "runtime": "sap-llm-torch",
        "gpus_per_node": 1,
        "volumes": [VolumeConfig(name="work", path=str(cluster.folder.parent), source={"emptyDir": {}})],
        "pipes": "s3://bucket/pipes",
        "kubeconfig": str(cluster.kubeconfig()),
        "poll_seconds": 0.3,
        "grace_seconds": 20,
    }
    return KubernetesTrainerConfig.model_validate(values | changes)


def plan_of(folder: Path, *, program: str = "tests.support.counting_program", **values: Any) -> TrainingPlan[Any]:
    context = StageContext(store=DatasetStore(folder / "datasets"))
    stage = TrainingStage(
        name="counting", version="1", config=CountingConfig, program=program, inputs=("training_set",)
    )
    launch = {"launcher": "gloo", "ranks": 2, "threads": 1}
    config = CountingConfig.model_validate({"launch": launch} | values)
    inputs = {"training_set": toy_training_set(context, 10)}
    plan = make_plan(context, stage, config=config, inputs=inputs, partition="r1", work=folder / "work")
    plan.write()
    return plan


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    variables = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_job_of_two_nodes_runs_and_its_messages_come_through_the_object_store(
    tmp_path: Path, cluster: Cluster, s3: str
) -> None:
    options = {"endpoint_url": s3}
    fsspec.filesystem("s3", **options, skip_instance_cache=True).mkdir("bucket")
    plan = plan_of(tmp_path, number=5)
    trainer = KubernetesTrainer(trainer_of(cluster), storage_options=options)
    heard: list[Any] = []

    @dg.op
    def launch(context: dg.OpExecutionContext) -> None:
        session = TrainingSession(context, messages=trainer.messages, storage_options=options)
        run_to_end(trainer, plan, session=session, told=Told(hear=heard.append))

    @dg.job
    def launched() -> None:
        launch()

    assert launched.execute_in_process().success
    assert (plan.result / "metrics.json").read_text() == '{"total": 10, "rows": 10}'
    done = [message for message in heard if message["event"] == "done"]
    assert [message["ranks"] for message in done] == [2]
    assert cluster.deleted
    assert not cluster.jobs
    left = fsspec.filesystem("s3", **options, skip_instance_cache=True).find("bucket")
    assert any("messages" in path for path in left)
    assert not any(path.endswith("context.json") for path in left)


def test_a_rank_that_knew_its_trouble_explains_the_job(tmp_path: Path, cluster: Cluster) -> None:
    plan = plan_of(tmp_path, program="tests.support.diverging_program")
    with pytest.raises(TrainingFailedError) as caught:
        run_to_end(KubernetesTrainer(trainer_of(cluster)), plan, session=FileSession(plan), told=Told())
    assert caught.value.code == DIVERGED
    assert "loss not finite" in caught.value.log_end
    assert not cluster.pods


def test_out_of_memory_in_a_pod_is_tried_again_with_half_the_micro_batch(tmp_path: Path, cluster: Cluster) -> None:
    plan = hungry(tmp_path, batch=256, limit_mb=100)  # pieces of 128, then of 64 megabytes
    said: list[str] = []
    run_to_end(KubernetesTrainer(trainer_of(cluster)), plan, session=FileSession(plan), told=Told(say=said.append))
    assert json.loads((plan.result / "metrics.json").read_text()) == {"units": 256, "micro_batch": 64}
    assert len([text for text in said if "halved 1 times" in text]) == 1
    assert "out of memory: " in (Path(plan.work) / LOG).read_text()


def test_cancelling_gives_every_rank_its_term_and_waits_until_no_pod_is_left(tmp_path: Path, cluster: Cluster) -> None:
    plan = plan_of(tmp_path, program="tests.support.waiting_program")
    pids: list[int] = []

    def cancelled_while_running() -> None:
        with KubernetesTrainer(trainer_of(cluster)).started(plan, {}):
            pids.extend(ready(plan))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled_while_running()
    assert sorted(path.name for path in Path(plan.work).glob("saved-*")) == ["saved-0", "saved-1"]
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not cluster.jobs


def ready(plan: TrainingPlan[Any]) -> list[int]:
    """Wait for both ranks of the waiting program; their processes."""
    deadline = time.monotonic() + 90
    while len(found := list(Path(plan.work).glob("ready-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return [int(path.read_text()) for path in found]


def test_a_job_that_an_earlier_step_left_behind_is_ended_before_the_next_one(tmp_path: Path, cluster: Cluster) -> None:
    plan = plan_of(tmp_path, program="tests.support.waiting_program")
    trainer = KubernetesTrainer(trainer_of(cluster, grace_seconds=2))
    abandoned = trainer.started(plan, {})  # held, so that it does not end by itself
    abandoned.__enter__()
    (first,) = cluster.jobs
    with trainer.started(plan, {}):
        assert first not in cluster.jobs
        assert len(cluster.jobs) == 1
    assert not cluster.jobs
    del abandoned


def test_what_the_cluster_refuses_is_said_in_its_words(tmp_path: Path, cluster: Cluster) -> None:
    plan = plan_of(tmp_path)
    refused = KubernetesTrainer(trainer_of(cluster, runtime="other")).started(plan, {})
    with pytest.raises(ClusterError, match='TrainingRuntime "other" not found'):
        refused.__enter__()
    lost = KubernetesTrainer(trainer_of(cluster, kubeconfig=str(tmp_path / "absent"))).started(plan, {})
    with pytest.raises(ClusterError, match="no way to the cluster"):
        lost.__enter__()


def test_a_server_that_does_not_answer_is_asked_again_by_the_steps_retry(tmp_path: Path, cluster: Cluster) -> None:
    plan = plan_of(tmp_path)
    config = trainer_of(cluster)
    cluster.server.shutdown()
    cluster.server.server_close()
    with pytest.raises(ClusterAwayError, match="did not answer"):
        KubernetesTrainer(config).started(plan, {}).__enter__()
    assert issubclass(ClusterAwayError, SourceError)  # which DeploymentResource leaves to the retry policy


def test_a_job_that_somebody_deletes_is_said_to_be_gone(tmp_path: Path, cluster: Cluster) -> None:
    plan = plan_of(tmp_path, program="tests.support.waiting_program")

    def watched() -> None:
        with KubernetesTrainer(trainer_of(cluster, grace_seconds=2)).started(plan, {}) as run:
            with cluster.lock:
                cluster.delete(next(iter(cluster.jobs)))
            while run.code() is None:
                time.sleep(0.1)

    with pytest.raises(ClusterError, match="somebody deleted it"):
        watched()
