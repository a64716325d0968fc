"""CPU milliseconds of a training step of the tiny profile with everything that watches it, beside the bare step.

Watched means as `training.program` does it: record, meter, heartbeat, agreement, and every `report_every_steps` a point
with the machine's numbers, the monitor, and a line in a file. One rank, toy documents, both sides in turns.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, lower_is_better

ROUNDS, STEPS = 5, 50


def run() -> dict[str, Measure]:
    """Rounds of as many steps as a report covers, in turns."""
    import torch.distributed as dist

    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=0, world_size=1)
        try:
            bare, watched = _sides(Path(folder))
            sides: tuple[Callable[[], None], ...] = (watched, bare)
            spent: tuple[list[float], list[float]] = ([], [])
            for number in range(ROUNDS + 1):
                for side, call in enumerate(sides):
                    began = time.process_time()
                    call()
                    if number:  # the first one warms up
                        spent[side].append(1000 * (time.process_time() - began) / STEPS)
            alone = _instruments_alone(watched)
        finally:
            dist.destroy_process_group()
    ours, rival = (statistics.median(side) for side in spent)
    sys.stdout.write(
        f"CPU ms a step: watched {sorted(spent[0])}, bare {sorted(spent[1])}, watching alone {alone:.3f}\n"
    )
    return {
        "training_step_watched": lower_is_better(
            ours=round(ours, 3), rival=round(rival, 3), rival_name="the bare step", unit="CPU ms", runs=ROUNDS
        ),
        "watching_a_step": lower_is_better(
            ours=round(alone, 4), rival=round(0.01 * rival, 4), rival_name="1 % of the bare step", unit="CPU ms", runs=1
        ),
    }


class _Watched:
    """Some steps as the program does them; without a work to do, the watching alone."""

    def __init__(self, work: Path, step: Callable[[int], tuple[Any, Any, int, int]], engine: Any, steps: int) -> None:
        from sap_llm.training.agreement import Agreement
        from sap_llm.training.hardware import Hardware
        from sap_llm.training.meter import Meter
        from sap_llm.training.monitor import Monitor, MonitoringConfig
        from sap_llm.training.record import Record
        from sap_llm.training.report import Reporter
        from sap_llm.training.watchdog import Heartbeat

        self.step, self._engine, self._steps = step, engine, steps
        self._record = Record(Meter(unit="words", parameters=1, peak_flops=1e12))
        self._agreement = Agreement("cpu")
        heartbeat = Heartbeat(work, rank=0, stall_seconds=600.0)
        monitor = Monitor(MonitoringConfig())
        self._reporter = Reporter(work / "progress.jsonl", hardware=Hardware(), monitor=monitor, heartbeat=heartbeat)

    def __call__(self) -> None:
        from sap_llm.training.agreement import Agreed

        for _ in range(self._steps):
            with self._record.meter.part("data"):
                pass
            total, parts, words, documents = self.step(self._record.step)
            self._record.add({**parts, "loss": total}, words=words, documents=documents)
            done = self._record.stepped(self._engine.gradient_norm)
            self._reporter.beat()
            if done % STEPS == 0:
                self._reporter.step(self._record.point({"learning_rate": self._engine.learning_rate}), steps=10**6)
            self._agreement.ask(done, Agreed())


def _instruments_alone(watched: _Watched) -> float:
    """The watching of steps that were done already."""
    once = watched.step(0)
    watched.step = lambda _: once
    began = time.process_time()
    for _ in range(ROUNDS):
        watched()
    return 1000 * (time.process_time() - began) / STEPS / ROUNDS


def _sides(folder: Path) -> tuple[Callable[[], None], _Watched]:
    """Steps of the tiny profile's model and batch, bare and watched; both train the same model on."""
    import torch

    from sap_llm.deployment import Deployment
    from sap_llm.modeling.heads import MultitaskModel
    from sap_llm.modeling.labels import default_labels
    from sap_llm.modeling.shards import encode_shard, for_training, read_shard
    from sap_llm.modeling.torch_runtime import tensors
    from sap_llm.training.batches import BatchPlan, collate
    from sap_llm.training.config import MultitaskModelConfig
    from sap_llm.training.engine import open_engine
    from sap_llm.training.losses import DocumentLoss, Targets
    from tests.support.toy_training import toy_tables

    torch.set_num_threads(1)
    config = Deployment.load("tiny").config(MultitaskModelConfig, "multitask_model")
    labels = default_labels()
    shard = for_training(read_shard(encode_shard(*toy_tables(200)), split="train"), labels)
    ranks = config.launch.ranks
    batches = BatchPlan(shard.lengths, words=config.batch_words, ranks=ranks, seed=0)
    engine = open_engine(MultitaskModel(config.backbone, labels), config, backend="gloo")
    loss = DocumentLoss(
        config.losses, subtype_ranges=labels.subtype_ranges(), subtypes=len(labels.subtypes), smoothing=0.0
    )

    def step(number: int) -> tuple[Any, Any, int, int]:
        batch = collate(shard, batches.rows(number % 200, 0))
        inputs = tensors(batch, device="cpu")
        with torch.autocast("cpu", dtype=torch.bfloat16) if config.launch.precision == "bf16" else nullcontext():
            scores = engine.module(*inputs)
        targets = Targets.of(batch)
        losses = loss(scores, targets, loss.counts(targets))
        engine.step(losses.total)
        return losses.total.detach(), losses.parts, int(batch.mask.sum()), len(batch.mask)

    numbers = count()  # the watched side takes the same batches

    def bare() -> None:
        for _ in range(STEPS):
            step(next(numbers))

    return bare, _Watched(folder, step, engine, STEPS)
