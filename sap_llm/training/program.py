"""The training program of the document model: `python -m sap_llm.training.program --plan FILE`, one process per rank.

Belongs here: the loop over optimizer steps, what happens between two of them, resuming, and the result folder.
Everything is read from the plan; what is around the loop in every training program is `rank`, what is counted and timed
in it `record` and `meter`.
"""

import math
import os
import shutil
import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from sap_llm.modeling.backbones.protocol import Reader
from sap_llm.modeling.confidence import Calibration
from sap_llm.modeling.features import PaddedWords
from sap_llm.modeling.folder import WEIGHTS, ModelConfig, write_config
from sap_llm.modeling.heads import MultitaskModel, Scores
from sap_llm.modeling.labels import LabelSet
from sap_llm.modeling.released_model import released_folder, released_weights
from sap_llm.modeling.shards import Shard, for_training, read_shard
from sap_llm.modeling.torch_runtime import TorchRuntime, tensors
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.agreement import Agreed, Agreement, StopRequest, stop_on_term
from sap_llm.training.batches import Batch
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.engine import Engine, is_broken, open_engine
from sap_llm.training.exits import TrainingStoppedError
from sap_llm.training.hardware import peak_flops
from sap_llm.training.loop import COMPUTE
from sap_llm.training.losses import DocumentLoss, Targets
from sap_llm.training.meter import Meter
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter, write_json
from sap_llm.training.shares import share
from sap_llm.training.source import ShardSource, Source, StreamSource, taught_labels
from sap_llm.training.validate import validate


class Trainer:
    """One rank of a training run."""

    def __init__(self, plan: TrainingPlan[MultitaskModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
        self.plan, self.config, self.rank, self.ranks, self.reporter = plan, plan.config, rank, ranks, reporter
        table = pq.read_table(plan.input_path("training_set", "shards.parquet"), memory_map=True)
        train = read_shard(table, split="train")
        self.labels: LabelSet = taught_labels(train, self.config)
        self.train: Shard = for_training(train, self.labels)
        self.validation: Shard = read_shard(table, split="validation")
        self.shares = share(
            self.config.batch_words,
            ranks=ranks,
            micro_batch=self.config.launch.micro_batch,
            halvings=plan.halvings,
        )
        self.source: Source = (
            StreamSource(self.config, self.config.stream, self.labels, self.shares, rank=rank)
            if self.config.stream
            else ShardSource(self.train, self.config, self.shares)
        )
        torch.manual_seed(self.config.seed)
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if self._on_gpu else "cpu"
        model = MultitaskModel(self.config.backbone, self.labels)
        if self.config.initial:
            _start_from(self.config.initial, model)
        model.to(self.device)
        self.backbone: Reader = model.encoder
        self.parameters = sum(value.numel() for value in model.parameters())
        self.engine: Engine = open_engine(
            model, self.config, backend=plan.backend, accumulation=self.shares.accumulation
        )
        self.loss = DocumentLoss(
            self.config.losses,
            subtype_ranges=self.labels.subtype_ranges(),
            subtypes=len(self.labels.subtypes),
            smoothing=self.config.optimizer.label_smoothing,
        )
        self.record = Record(Meter(unit="words", parameters=self.parameters, peak_flops=self._peak_flops()))
        self.agreement = Agreement(self.device)
        self.result_step = 0

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, and write the result folder.

        Raises:
            TrainingStoppedError: TERM came; a checkpoint of the step then done was saved.
            TrainingDivergedError: Loss, gradients or weights are no numbers; nothing was saved since.
        """
        self._resume()
        with stop_on_term() as stop:
            self._steps(stop)
        self.source.close()
        self._choose_weights()
        weights = self.engine.weights()
        if self.rank == 0:  # the others are done: one that waited longer than a stall may last would end itself
            self._write_result(weights)

    def _steps(self, stop: StopRequest) -> None:
        last_saved = time.monotonic()
        while self.record.step < self.config.steps:
            self._step()
            done = self.record.stepped(self.engine.gradient_norm)
            self.reporter.beat()
            validated = self._validate() if self._is_validated(done) else {}
            if done % self.config.report_every_steps == 0 or done == self.config.steps or self._is_validated(done):
                point = self.record.point({"learning_rate": self.engine.learning_rate, **validated})
                self.reporter.step(point, steps=self.config.steps)
            agreed = self._agree(done, stop, last_saved)
            if agreed.save:
                self._save(validated.get("validation_f1"))
                last_saved = time.monotonic()
            if agreed.stop:
                raise TrainingStoppedError(
                    f"asked to stop; a checkpoint of step {done} was saved",
                    where=str(self.plan.checkpoints),
                    remedy="Materialise again to go on.",
                )
            if agreed.out_of_time:
                break

    def _step(self) -> None:
        step = self.record.step
        with self.record.meter.part("data"):
            batches = {piece: self.source.batch(step, piece) for piece in self.shares.of_rank(self.rank)}
        targets = {piece: Targets.of(batch, device=self.device) for piece, batch in batches.items()}
        counts = torch.stack([self.loss.counts(own) for own in targets.values()]).sum(dim=0)
        if self.ranks > 1:
            dist.all_reduce(counts)
        counts /= self.shares.pieces
        self.engine.module.train()
        for piece, batch in batches.items():
            # dropout too follows from these numbers: a resumed run repeats what the killed one would have done
            torch.manual_seed(int(np.random.default_rng([self.config.seed, step, piece]).integers(2**62)))
            losses = self.loss(self._scores(batch), targets[piece], counts)
            self.engine.step(losses.total)
            self.record.add(
                {**losses.parts, "loss": losses.total.detach()},
                shares=losses.labelled,
                words=int(batch.mask.sum()) * self.ranks,
                documents=len(batch.mask) * self.ranks,
            )

    def _scores(self, batch: Batch) -> Scores:
        inputs = tensors(batch, device=self.device)
        with torch.autocast(
            torch.device(self.device).type,
            dtype=COMPUTE[self.config.launch.precision],
            enabled=self.config.launch.precision == "bf16",
        ):
            scores: Scores = self.engine.module(*inputs)
        return scores

    def _resume(self) -> None:
        found = checkpoints.newest(self.plan.checkpoints)
        if found is None:
            start = self.config.initial or "random weights"
            self.reporter.say(f"training from {start}: {self.parameters / 1e6:.2f} M parameters, "
                              f"{len(self.train)} windows, {self.plan.backend} x {self.ranks} "
                              f"({self.plan.backend_reason})")  # fmt: skip
            return
        self.engine.load(found.folder)
        progress = found.progress()
        self.record.restore(progress, step=found.step, rank=self.rank)
        self.source.resume(progress["sources"][self.rank])
        self.reporter.say(f"resumed from the checkpoint of step {found.step} of {self.config.steps}")

    def _agree(self, done: int, stop: StopRequest, last_saved: float) -> Agreed:
        """What all ranks do after this step: save, stop. After the last one the result is written instead."""
        if done == self.config.steps:
            return Agreed()
        settings = self.config.checkpoint
        is_late = settings.every_seconds > 0 and time.monotonic() - last_saved > settings.every_seconds
        is_over = self.config.max_seconds > 0 and self.record.seconds > self.config.max_seconds
        agreed = self.agreement.ask(done, Agreed(stop=stop.is_set, out_of_time=is_over, save=is_late))
        is_due = done % settings.every_steps == 0 or self._is_validated(done)
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
            sources: list[Any] = [None] * self.ranks
            dist.all_gather_object(sources, self.source.state())
            progress = self.record.to_json() | {"sources": sources}
            if self.rank == 0:
                checkpoints.commit(
                    self.plan.checkpoints,
                    step=self.record.step,
                    progress=progress,
                    keep=self.config.checkpoint.keep,
                    score=score,
                )

    def _is_validated(self, done: int) -> bool:
        every = self.config.validation.every_steps
        return every > 0 and len(self.validation) > 0 and (done % every == 0 or done == self.config.steps)

    def _validate(self) -> dict[str, float]:
        """Scores on a part of the validation split, by rank 0; the others wait at their next message."""
        with self.record.meter.part("validation"):
            weights = self.engine.weights()
            return self._scored(weights, most=self.config.validation.documents)[0] if self.rank == 0 else {}

    def _scored(self, weights: dict[str, torch.Tensor], *, most: int) -> tuple[dict[str, float], Calibration]:
        model = MultitaskModel(self.config.backbone, self.labels)
        model.load_state_dict(weights)
        runtime = TorchRuntime(model.to(self.device).eval())

        def score(batch: PaddedWords) -> dict[str, npt.NDArray[np.float32]]:
            self.reporter.beat()  # a rank that validates is alive
            return runtime(batch)

        return validate(score, self.validation, labels=self.labels, most=most)

    def _choose_weights(self) -> None:
        """Go back to the best checkpoint where the configuration wants that and the last step was not better."""
        self.result_step = self.record.step
        if self.config.checkpoint.result == "last":
            return
        dist.barrier()  # rank 0 may still be committing one
        found, last = checkpoints.best(self.plan.checkpoints), 0.0
        if self.record.curve:
            last = self.record.curve[-1].get("validation_f1", 0.0)
        is_better = self.rank == 0 and found is not None and (found.score or 0.0) > last  # rank 0 alone has scores
        if found is not None and self.agreement.largest([is_better]) == [1.0]:
            self.engine.load(found.folder)
            self.result_step = found.step
            self.reporter.say(f"the result is the checkpoint of step {found.step}, validation F1 {found.score:.4f}")

    def _write_result(self, weights: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save_file

        measured, calibration = self._scored(weights, most=self.config.validation_documents)
        folder = self.plan.result.with_name(".result")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "model").mkdir(parents=True)
        save_file(weights, folder / "model" / WEIGHTS)
        self.backbone.save_files(folder / "model")
        write_config(
            folder / "model",
            ModelConfig(
                taxonomy_version=self.plan.taxonomy_version,
                backbone=self.backbone.shape,
                labels=self.labels.to_json(),
                calibration=calibration,
            ),
        )
        record = self.record
        taught = len(self.labels.header_fields) + len(self.labels.line_fields) - len(self.labels.untaught)
        metrics = measured | {
            "taught_fields": taught,
            "parameters": self.parameters,
            "steps": record.step,
            "result_step": self.result_step,
            "documents_seen": record.documents,
            "words_seen": record.words,
            "loss": round(record.curve[-1]["loss"], 5) if record.curve else 0.0,
            "seconds": round(record.seconds, 1),
            "ranks": self.ranks,
            "backend": self.plan.backend,
            "backend_reason": self.plan.backend_reason,
            "device": self.reporter.gpu_name or "cpu",
            "resumed_from_step": record.resumed_from,
            "stopped_early": record.step < self.config.steps,
        }
        write_json(folder / "losses.json", record.curve)
        write_json(folder / "metrics.json", metrics)
        shutil.rmtree(self.plan.result, ignore_errors=True)
        folder.rename(self.plan.result)
        self.reporter.done(metrics)

    def _peak_flops(self) -> float | None:
        """Of all devices together, as configured or as the GPU's name tells; unknown on a CPU."""
        one = self.config.monitoring.peak_flops or peak_flops(self.reporter.gpu_name if self._on_gpu else None)
        return one * self.ranks if one else None

    @property
    def _on_gpu(self) -> bool:
        return self.config.launch.accelerator == "cuda"


def _train(plan: TrainingPlan[MultitaskModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    Trainer(plan, rank=rank, ranks=ranks, reporter=reporter).run()


def _start_from(name: str, model: MultitaskModel) -> None:
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = released_weights(released_folder(name), shapes)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})


if __name__ == "__main__":
    run_rank(MultitaskModelConfig, _train)
