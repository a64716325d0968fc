"""The launched program of the adapters: killed and resumed bit by bit, one or two ranks, from the command line."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sap_llm.modeling.adapters import AdapterSet, base_digest
from sap_llm.modeling.qwen import load_qwen
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.adapters.stage import STAGE_ADAPTERS, build_stage_adapters, partition_of
from sap_llm.training.launch import commands
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import make_plan
from sap_llm.training.together import lead
from tests.support.toy_adapters import small_adapters, toy_instructed_model
from tests.support.toy_training import toy_training_set

pytestmark = pytest.mark.slow
STAGES = ("classification", "validation")
WEIGHTS = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path_factory.mktemp("store") / "datasets"))


@pytest.fixture(scope="module")
def inputs(context: StageContext) -> dict[str, DatasetRef]:
    training_set = toy_training_set(context, 40)
    return {"training_set": training_set, "instructed_model": toy_instructed_model(context, training_set)}


def _plans(context: StageContext, inputs: dict[str, DatasetRef], work: Path, **changes: Any) -> list[TrainingPlan[Any]]:
    return [
        make_plan(
            context,
            STAGE_ADAPTERS,
            config=small_adapters(**changes),
            inputs=inputs,
            partition=partition_of("r1", stage),
            work=work,
        )
        for stage in STAGES
    ]


def _start(plan: TrainingPlan[Any]) -> subprocess.Popen[bytes]:
    plan.write()
    ((command, environment),) = commands(plan)
    with (Path(plan.work) / "program.log").open("ab") as log:
        return subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )


def _kill_in_the_second_stage(plans: list[TrainingPlan[Any]], leading: TrainingPlan[Any]) -> int:
    process = _start(leading)
    try:
        deadline = time.monotonic() + 240
        while (found := checkpoints.newest(plans[1].checkpoints)) is None:
            assert process.poll() is None, (Path(leading.work) / "program.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    newest = checkpoints.newest(plans[1].checkpoints)
    assert newest is not None
    return max(newest.step, found.step)


def test_a_run_killed_in_its_second_stage_keeps_the_first_and_ends_with_the_same_bits(
    context: StageContext, inputs: dict[str, DatasetRef], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"steps": 24, "checkpoint": {"every_steps": 6, "every_seconds": 0.0}}
    whole, killed = (_plans(context, inputs, tmp_path / name, **changes) for name in ("whole", "killed"))
    assert _start(lead(whole, context.store)).wait() == 0
    step = _kill_in_the_second_stage(killed, lead(killed, context.store))
    assert killed[0].result.is_dir()
    assert not killed[1].result.exists()
    first = (killed[0].result / WEIGHTS).stat().st_mtime_ns
    state = next(killed[1].checkpoints.glob("step-*/state.pt")).stat().st_size
    base = context.store.open(inputs["instructed_model"]).path("model/model.safetensors").stat().st_size
    assert state < base  # the adapter and its optimizer, not the base

    built = build_stage_adapters(
        context, config=small_adapters(**changes), **inputs, release="r1", document_stages=STAGES,
        work=tmp_path / "killed",
    )  # fmt: skip

    assert (killed[0].result / WEIGHTS).stat().st_mtime_ns == first  # not trained again
    assert built["validation"].manifest.metrics["resumed_from_step"] == step
    for plan, stage in zip(whole, STAGES, strict=True):
        assert built[stage].dataset.path(WEIGHTS).read_bytes() == (plan.result / WEIGHTS).read_bytes()
        curve = json.loads(built[stage].dataset.path("losses.json").read_text())
        expected = json.loads((plan.result / "losses.json").read_text())
        assert [point["loss"] for point in curve] == [point["loss"] for point in expected]
    assert not killed[1].checkpoints.exists()
    folder = context.store.open(inputs["instructed_model"]).path("model")
    opened = AdapterSet.open(
        load_qwen(folder)[0],
        digest=base_digest(folder),
        adapters={stage: built[stage].dataset.path("adapter") for stage in STAGES},
    )
    assert opened.names == STAGES


def test_two_ranks_take_the_steps_of_one_also_where_the_base_is_sharded(
    context: StageContext, inputs: dict[str, DatasetRef], tmp_path: Path
) -> None:
    """One rank on gloo; two on DeepSpeed, where it can run here, with the whole base and with a sharded one."""
    curves = []
    for ranks, launcher, is_sharded in ((1, "gloo", False), (2, "auto", False), (2, "auto", True)):
        launch = {"ranks": ranks, "launcher": launcher}
        config = small_adapters(launch=launch, lora={"dropout": 0.0}, shard_base=is_sharded)
        built = build_stage_adapters(
            context, config=config, **inputs, release="r1", document_stages=STAGES, work=tmp_path / str(len(curves))
        )
        curves.append([])
        for stage in STAGES:
            metrics = built[stage].manifest.metrics
            assert metrics["ranks"] == ranks
            assert metrics["is_improved"]
            points = json.loads(built[stage].dataset.path("losses.json").read_text())
            curves[-1] += [*(point["loss"] for point in points), metrics["validation_loss"]]
    np.testing.assert_allclose(curves[1:], [curves[0]] * 2, rtol=2e-3)
