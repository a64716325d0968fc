"""The loop over optimizer steps that a training program runs on each rank: from the newest checkpoint to the last step.

Belongs here: what happens between two steps (report, save, stop on TERM, agree with the other ranks) and how a resumed
run goes on. What a step works on is the program's own, given as a function.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.agreement import Agreed, Agreement, StopRequest, stop_on_term
from sap_llm.training.engine import Engine
from sap_llm.training.exits import TrainingStoppedError
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter

_OWN = "program"


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One rank's loop.

    Attributes:
        plan: What is run.
        rank: Of this process.
        engine: Model and optimizer.
        record: Counters and curve; `record.step` steps are done.
        reporter: Rank 0's speaks.
        agreement: With the other ranks.
        step: Does the work of one optimizer step, all pieces of this rank.
        save: What the program wants in a checkpoint beside model, optimizer and record.
        restore: Gets that back.
    """

    plan: TrainingPlan[Any]
    rank: int
    engine: Engine
    record: Record
    reporter: Reporter
    agreement: Agreement
    step: Callable[[], None]
    save: Callable[[], Mapping[str, Any]]
    restore: Callable[[Mapping[str, Any]], None]

    def run(self, introduction: str) -> None:
        """Train to the last step; `introduction` is said where there is no checkpoint to go on from.

        Raises:
            TrainingStoppedError: TERM came; a checkpoint of the step then done was saved.
            TrainingDivergedError: Loss, gradients or weights are no numbers; nothing was saved since.
        """
        self._resume(introduction)
        with stop_on_term() as stop:
            self._steps(stop)

    def _steps(self, stop: StopRequest) -> None:
        config, last_saved = self.plan.config, time.monotonic()
        while self.record.step < config.steps:
            self.step()
            done = self.record.stepped(self.engine.gradient_norm)
            self.reporter.beat()
            if done % config.report_every_steps == 0 or done == config.steps:
                point = self.record.point({"learning_rate": self.engine.learning_rate})
                self.reporter.step(point, steps=config.steps)
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

    def _resume(self, introduction: str) -> None:
        found = checkpoints.newest(self.plan.checkpoints)
        if found is None:
            self.reporter.say(introduction)
            return
        self.engine.load(found.folder)
        progress = found.progress()
        self.record.restore(progress, step=found.step, rank=self.rank)
        self.restore(progress[_OWN])
        self.reporter.say(f"resumed from the checkpoint of step {found.step} of {self.plan.config.steps}")

    def _agree(self, done: int, stop: StopRequest, last_saved: float) -> Agreed:
        """What all ranks do after this step; after the last one the result is written instead."""
        if done == self.plan.config.steps:
            return Agreed()
        settings = self.plan.config.checkpoint
        is_late = settings.every_seconds > 0 and time.monotonic() - last_saved > settings.every_seconds
        agreed = self.agreement.ask(done, Agreed(stop=stop.is_set, save=is_late))
        return replace(agreed, save=agreed.save or agreed.stop or done % settings.every_steps == 0)

    def _save(self) -> None:
        """A checkpoint, unless a weight is no number: every later run would go on from a broken one."""
        with self.record.meter.part("checkpoint"):
            is_broken = not all(bool(torch.isfinite(value).all()) for value in self.engine.module.parameters())
            if self.agreement.largest([is_broken]) != [0.0]:
                self.reporter.step({"step": self.record.step, "weights": math.nan}, steps=self.plan.config.steps)
            if self.rank == 0:
                checkpoints.prepare(self.plan.checkpoints)
            dist.barrier()
            self.engine.save(checkpoints.scratch(self.plan.checkpoints))
            progress = self.record.to_json() | {_OWN: dict(self.save())}
            if self.rank == 0:
                checkpoints.commit(
                    self.plan.checkpoints,
                    step=self.record.step,
                    progress=progress,
                    keep=self.plan.config.checkpoint.keep,
                )
