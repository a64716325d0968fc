"""The loop over optimizer steps that training programs share: pieces, points of the curve, checkpoints, stopping.

Belongs here: what happens between two steps whatever is trained. What a piece is and what becomes of the weights is the
program's; what is around the loop on every rank is `rank`.
"""

import math
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

import torch
import torch.distributed as dist
from torch import Tensor

from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.agreement import Agreed, Agreement, StopRequest, stop_on_term
from sap_llm.training.engine import Engine, is_broken
from sap_llm.training.exits import TrainingStoppedError
from sap_llm.training.hardware import peak_flops
from sap_llm.training.plan import Config, TrainingPlan
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter, write_json
from sap_llm.training.shares import Shares

_PROGRAM = "program"
SCORE = "validation_f1"
"""Of `validate`: what the best checkpoint has most of."""
COMPUTE = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""Types of matrix products by their names in the configuration."""


class TrainingLoop(ABC, Generic[Config]):
    """One rank of a training run. A program sets `engine`, `shares` and `record` before `run`."""

    engine: Engine
    shares: Shares
    record: Record
    result_step = 0
    """Of whose weights the result is."""

    def __init__(self, plan: TrainingPlan[Config], *, rank: int, ranks: int, reporter: Reporter) -> None:
        """Take the rank's place; `reporter` speaks on rank 0 only."""
        self.plan, self.config, self.rank, self.ranks, self.reporter = plan, plan.config, rank, ranks, reporter
        torch.manual_seed(self.config.seed)
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device("cuda", local) if self.is_on_gpu else torch.device("cpu")
        self.agreement = Agreement(self.device)

    @property
    def is_on_gpu(self) -> bool:
        """Whether weights are on a GPU."""
        return self.config.launch.accelerator == "cuda"

    @abstractmethod
    def opening(self) -> str:
        """What is said when training starts afresh."""

    @abstractmethod
    def piece(self, number: int) -> None:
        """Learn from one piece of the current step (`record.step`) and record it; pieces are numbered over all ranks.

        What it holds and draws must follow from step and number alone: then a resumed run repeats what a killed one
        would have done, and a piece is the same on whatever rank.
        """

    @abstractmethod
    def write_result(self, weights: dict[str, Tensor]) -> None:
        """Write `plan.result`, which must appear complete; rank 0 only."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of the program on this rank, where the number of the step does not say it all."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Get back what `state` gave on this rank."""

    def is_validated(self, done: int) -> bool:  # noqa: ARG002 - for programs that validate while they train
        """Whether `validate` is asked for after step `done`; the same on all ranks. Never by default."""
        return False

    def validate(self) -> dict[str, float]:
        """Scores of the weights as they are, called on all ranks; rank 0 alone returns them.

        The key `SCORE` decides which checkpoint is the best.
        """
        return {}

    def is_over(self) -> bool:
        """Whether this rank wants training to end before its last step."""
        return False

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, and write the result folder.

        Raises:
            TrainingStoppedError: TERM came; a checkpoint of the step then done was saved.
            TrainingDivergedError: Loss, gradients or weights are no numbers; nothing was saved since.
        """
        self._resume()
        with stop_on_term() as stop:
            self._steps(stop)
        self._choose_weights()
        self.measure()
        weights = self.engine.weights()
        if self.rank == 0:  # the others are done: one that waited longer than a stall may last would end itself
            self.write_result(weights)

    def measure(self) -> None:
        """Measure what the result says, on all ranks, where they hold the model together; nothing by default."""

    def device_flops(self) -> float | None:
        """Of all devices together, as configured or as the GPU's name tells; unknown on a CPU."""
        one = self.config.monitoring.peak_flops or peak_flops(self.reporter.gpu_name if self.is_on_gpu else None)
        return one * self.ranks if one else None

    def metrics(self) -> dict[str, Any]:
        """What every program's result says about its training."""
        record = self.record
        return {
            "steps": record.step,
            "result_step": self.result_step,
            "loss": round(record.curve[-1]["loss"], 5) if record.curve else 0.0,
            "seconds": round(record.seconds, 1),
            "ranks": self.ranks,
            "backend": self.plan.backend,
            "backend_reason": self.plan.backend_reason,
            "device": self.reporter.gpu_name or "cpu",
            "resumed_from_step": record.resumed_from,
        }

    def scratch(self) -> Path:
        """An empty folder to write the result into, for `publish`."""
        folder = self.plan.result.with_name(".result")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def publish(self, folder: Path, metrics: Mapping[str, Any], **said: Any) -> None:
        """Make a folder of `scratch` the result, with curve and metrics, and say so."""
        write_json(folder / "losses.json", self.record.curve)
        write_json(folder / "metrics.json", metrics)
        shutil.rmtree(self.plan.result, ignore_errors=True)
        folder.rename(self.plan.result)
        self.reporter.done({**said, **metrics})

    def _steps(self, stop: StopRequest) -> None:
        last_saved = time.monotonic()
        while self.record.step < self.config.steps:
            self.engine.module.train()
            for number in self.shares.of_rank(self.rank):
                self.piece(number)
            done = self.record.stepped(self.engine.gradient_norm)
            self.reporter.beat()
            validated = self._validated() if self.is_validated(done) else {}
            if done % self.config.report_every_steps == 0 or done == self.config.steps or self.is_validated(done):
                point = self.record.point({"learning_rate": self.engine.learning_rate, **validated})
                self.reporter.step(point, steps=self.config.steps)
            agreed = self._agree(done, stop, last_saved)
            if agreed.save:
                self._save(validated.get(SCORE))
                last_saved = time.monotonic()
            if agreed.stop:
                raise TrainingStoppedError(
                    f"asked to stop; a checkpoint of step {done} was saved",
                    where=str(self.plan.checkpoints),
                    remedy="Materialise again to go on.",
                )
            if agreed.out_of_time:
                break

    def _validated(self) -> dict[str, float]:
        with self.record.meter.part("validation"):
            return self.validate()

    def _resume(self) -> None:
        found = checkpoints.newest(self.plan.checkpoints)
        if found is None:
            self.reporter.say(f"{self.opening()}, {self.plan.backend} x {self.ranks} ({self.plan.backend_reason})")
            return
        self.engine.load(found.folder)
        progress = found.progress()
        self.record.restore(progress, step=found.step, rank=self.rank)
        self.restore(progress[_PROGRAM][self.rank])
        self.reporter.say(f"resumed from the checkpoint of step {found.step} of {self.config.steps}")

    def _agree(self, done: int, stop: StopRequest, last_saved: float) -> Agreed:
        """What all ranks do after this step: save, stop. After the last one the result is written instead."""
        if done == self.config.steps:
            return Agreed()
        settings = self.config.checkpoint
        is_late = settings.every_seconds > 0 and time.monotonic() - last_saved > settings.every_seconds
        agreed = self.agreement.ask(done, Agreed(stop=stop.is_set, out_of_time=self.is_over(), save=is_late))
        is_due = done % settings.every_steps == 0 or self.is_validated(done)
        return replace(agreed, save=agreed.save or agreed.stop or is_due)

    def _save(self, score: float | None) -> None:
        """A checkpoint, unless a weight is no number: every later run would go on from a broken one."""
        with self.record.meter.part("checkpoint"):
            if self.agreement.largest([is_broken(self.engine)]) != [0.0]:
                self.reporter.step({"step": self.record.step, "weights": math.nan}, steps=self.config.steps)
            if self.rank == 0:
                checkpoints.prepare(self.plan.checkpoints)
            dist.barrier()
            self.engine.save(checkpoints.scratch(self.plan.checkpoints))
            states: list[Any] = [None] * self.ranks
            dist.all_gather_object(states, self.state())  # all ranks meet here, after their files are written
            progress = self.record.to_json() | {_PROGRAM: states}
            if self.rank == 0:
                checkpoints.commit(
                    self.plan.checkpoints,
                    step=self.record.step,
                    progress=progress,
                    keep=self.config.checkpoint.keep,
                    score=score,
                )

    def _choose_weights(self) -> None:
        """Go back to the best checkpoint where the configuration wants that and the last step was not better."""
        self.result_step = self.record.step
        if self.config.checkpoint.result == "last":
            return
        dist.barrier()  # rank 0 may still be committing one
        found = checkpoints.best(self.plan.checkpoints)
        if found is None:
            self.reporter.say("no score was measured while training: the result is the last step, not the best")
            return
        last = self.record.curve[-1].get(SCORE, 0.0) if self.record.curve else 0.0
        is_better = self.rank == 0 and (found.score or 0.0) > last  # rank 0 alone has scores
        if self.agreement.largest([is_better]) == [1.0]:
            self.engine.load(found.folder)
            self.result_step = found.step
            self.reporter.say(f"the result is the checkpoint of step {found.step}, validation F1 {found.score:.4f}")
