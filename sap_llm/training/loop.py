"""The loop over optimizer steps that training programs share: pieces, points of the curve, checkpoints, stopping.

Belongs here: what happens between two steps whatever is trained. What a piece is and what becomes of the weights is the
program's; what is around the loop on every rank is `rank`.
"""

import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
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
from sap_llm.training.report import Reporter
from sap_llm.training.shares import Shares

_PROGRAM = "program"
COMPUTE = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""Types of matrix products by their names in the configuration."""


class TrainingLoop(ABC, Generic[Config]):
    """One rank of a training run. A program sets `engine`, `shares` and `record` before `run`."""

    engine: Engine
    shares: Shares
    record: Record

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
        """What a checkpoint holds of the program itself, where the number of the step does not say it all."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Get back what `state` gave."""

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, and write the result folder.

        Raises:
            TrainingStoppedError: TERM came; a checkpoint of the step then done was saved.
            TrainingDivergedError: Loss, gradients or weights are no numbers; nothing was saved since.
        """
        self._resume()
        with stop_on_term() as stop:
            self._steps(stop)
        self.measure()
        weights = self.engine.weights()
        if self.rank == 0:  # the others are done
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
            "loss": round(record.curve[-1]["loss"], 5) if record.curve else 0.0,
            "seconds": round(record.seconds, 1),
            "ranks": self.ranks,
            "backend": self.plan.backend,
            "backend_reason": self.plan.backend_reason,
            "device": self.reporter.gpu_name or "cpu",
            "resumed_from_step": record.resumed_from,
        }

    def _steps(self, stop: StopRequest) -> None:
        last_saved = time.monotonic()
        while self.record.step < self.config.steps:
            self.engine.module.train()
            for number in self.shares.of_rank(self.rank):
                self.piece(number)
            done = self.record.stepped(self.engine.gradient_norm)
            self.reporter.beat()
            if done % self.config.report_every_steps == 0 or done == self.config.steps:
                point = self.record.point({"learning_rate": self.engine.learning_rate})
                self.reporter.step(point, steps=self.config.steps)
            agreed = self._agree(done, stop, last_saved)
            if agreed.save:
                self._save()
                last_saved = time.monotonic()
            if agreed.stop:
                raise TrainingStoppedError(
                    f"asked to stop; a checkpoint of step {done} was saved",
                    where=str(self.plan.checkpoints),
                    remedy="Materialise again to go on.",
                )

    def _resume(self) -> None:
        found = checkpoints.newest(self.plan.checkpoints)
        if found is None:
            self.reporter.say(f"{self.opening()}, {self.plan.backend} x {self.ranks} ({self.plan.backend_reason})")
            return
        self.engine.load(found.folder)
        progress = found.progress()
        self.record.restore(progress, step=found.step, rank=self.rank)
        self.restore(progress[_PROGRAM])
        self.reporter.say(f"resumed from the checkpoint of step {found.step} of {self.config.steps}")

    def _agree(self, done: int, stop: StopRequest, last_saved: float) -> Agreed:
        """What all ranks do after this step: save, stop. After the last one the result is written instead."""
        if done == self.config.steps:
            return Agreed()
        settings = self.config.checkpoint
        is_late = settings.every_seconds > 0 and time.monotonic() - last_saved > settings.every_seconds
        agreed = self.agreement.ask(done, Agreed(stop=stop.is_set, save=is_late))
        return replace(agreed, save=agreed.save or agreed.stop or done % settings.every_steps == 0)

    def _save(self) -> None:
        """A checkpoint, unless a weight is no number: every later run would go on from a broken one."""
        with self.record.meter.part("checkpoint"):
            if self.agreement.largest([is_broken(self.engine)]) != [0.0]:
                self.reporter.step({"step": self.record.step, "weights": math.nan}, steps=self.config.steps)
            if self.rank == 0:
                checkpoints.prepare(self.plan.checkpoints)
            dist.barrier()
            self.engine.save(checkpoints.scratch(self.plan.checkpoints))
            progress = self.record.to_json() | {
                _PROGRAM: self.state()
            }  # all ranks meet here, after their files are written
            if self.rank == 0:
                keep = self.config.checkpoint.keep
                checkpoints.commit(self.plan.checkpoints, step=self.record.step, progress=progress, keep=keep)
