"""The training program of the document model: `python -m sap_llm.training.program --plan FILE`, one process per rank.

Belongs here: the loop over optimizer steps, resuming, and the result folder. Everything is read from the plan; what is
around the loop in every training program is `rank`.
"""

import os
import shutil
import time
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from sap_llm.modeling.folder import WEIGHTS, ModelConfig, write_config
from sap_llm.modeling.heads import MultitaskModel, Scores
from sap_llm.modeling.labels import LabelSet
from sap_llm.modeling.released_model import released_folder, released_weights
from sap_llm.modeling.shards import Shard, for_training, read_shard
from sap_llm.modeling.torch_runtime import TorchRuntime, tensors
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.batches import Batch
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.engine import Engine, open_engine
from sap_llm.training.losses import DocumentLoss, Targets
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter, write_json
from sap_llm.training.source import ShardSource, Source, StreamSource, taught_labels
from sap_llm.training.validate import validate

_COMPUTE = {"bf16": torch.bfloat16, "fp32": torch.float32}


class Trainer:
    """One rank of a training run."""

    def __init__(self, plan: TrainingPlan[MultitaskModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
        self.plan, self.config, self.rank, self.ranks, self.reporter = plan, plan.config, rank, ranks, reporter
        table = pq.read_table(plan.input_path("training_set", "shards.parquet"), memory_map=True)
        train = read_shard(table, split="train")
        self.labels: LabelSet = taught_labels(train, self.config)
        self.train: Shard = for_training(train, self.labels)
        self.validation: Shard = read_shard(table, split="validation")
        self.source: Source = (
            StreamSource(self.config, self.config.stream, self.labels, rank=rank, ranks=ranks)
            if self.config.stream
            else ShardSource(self.train, self.config, rank=rank, ranks=ranks)
        )
        torch.manual_seed(self.config.seed)
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if self._on_gpu else "cpu"
        model = MultitaskModel(self.config.encoder, self.labels)
        if self.config.initial:
            _start_from(self.config.initial, model)
        model.to(self.device)
        self.parameters = sum(value.numel() for value in model.parameters())
        self.engine: Engine = open_engine(model, self.config, backend=plan.backend)
        self.loss = DocumentLoss(
            self.config.losses,
            subtype_ranges=self.labels.subtype_ranges(),
            subtypes=len(self.labels.subtypes),
            smoothing=self.config.optimizer.label_smoothing,
            over_ranks=_mean_over_ranks,
        )
        self.curve: list[dict[str, float]] = []
        self.words_seen = self.documents_seen = 0
        self.resumed_from = self.steps_done = 0
        self.spent_seconds = 0.0  # by earlier runs of the same version

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, and write the result folder."""
        start = self._resume()
        self._steps(start)
        self.source.close()
        if self.rank == 0:
            self._write_result()
        dist.barrier()

    def _steps(self, start: int) -> None:
        began = last_saved = time.monotonic()
        done = start
        sums: dict[str, Any] = {}
        while done < self.config.steps and not self._out_of_time(began):
            total, batch = self._step(done)
            done += 1
            for name, value in (("loss", total.detach()), ("steps", 1)):
                sums[name] = sums.get(name, 0.0) + value
            self.words_seen += int(batch.mask.sum()) * self.ranks
            self.documents_seen += len(batch.mask) * self.ranks
            if done % self.config.report_every_steps == 0 or done == self.config.steps:
                self._report(done, sums, began)
                sums = {}
            if self._is_due(done, last_saved):
                self._save(done, began)
                last_saved = time.monotonic()
        self.steps_done = done
        self.spent_seconds += time.monotonic() - began

    def _step(self, step: int) -> tuple[torch.Tensor, Batch]:
        # dropout too follows from the step's number: a resumed run repeats what the killed one would have done
        torch.manual_seed(int(np.random.default_rng([self.config.seed, step, self.rank]).integers(2**62)))
        batch = self.source.batch(step)
        self.engine.module.train()
        scores, targets = self._scores(batch)
        total, _ = self.loss(scores, targets)
        self.engine.step(total)
        return total, batch

    def _scores(self, batch: Batch) -> tuple[Scores, Targets]:
        inputs = tensors(batch, device=self.device)
        with torch.autocast(
            torch.device(self.device).type,
            dtype=_COMPUTE[self.config.launch.precision],
            enabled=self.config.launch.precision == "bf16",
        ):
            scores = self.engine.module(*inputs)
        return scores, Targets.of(batch, device=self.device)

    def _resume(self) -> int:
        found = checkpoints.newest(self.plan.checkpoints)
        if found is None:
            start = self.config.initial or "random weights"
            self.reporter.say(f"training from {start}: {self.parameters / 1e6:.2f} M parameters, "
                              f"{len(self.train)} windows, {self.plan.backend} x {self.ranks} "
                              f"({self.plan.backend_reason})")  # fmt: skip
            return 0
        self.engine.load(found.folder)
        progress = found.progress()
        self.curve = progress["curve"]
        self.words_seen, self.documents_seen = progress["words_seen"], progress["documents_seen"]
        self.spent_seconds = progress["spent_seconds"]
        self.source.resume(progress["sources"][self.rank])
        self.reporter.say(f"resumed from the checkpoint of step {found.step} of {self.config.steps}")
        self.resumed_from = found.step
        return found.step

    def _out_of_time(self, began: float) -> bool:
        if not self.config.max_seconds:
            return False
        return self._any_rank(self.spent_seconds + time.monotonic() - began > self.config.max_seconds)

    def _is_due(self, done: int, last_saved: float) -> bool:
        if done >= self.config.steps:
            return False
        if done % self.config.checkpoint.every_steps == 0:
            return True
        if done % 10 or not self.config.checkpoint.every_seconds:
            return False
        return self._any_rank(time.monotonic() - last_saved > self.config.checkpoint.every_seconds)

    def _any_rank(self, is_so: bool) -> bool:
        """Whether it is so on any rank; all ranks must ask at the same step, and get the same answer."""
        answer = torch.tensor(float(is_so), device=self.device)
        dist.all_reduce(answer)
        return bool(answer > 0)

    def _save(self, done: int, began: float) -> None:
        if self.rank == 0:
            checkpoints.prepare(self.plan.checkpoints)
        dist.barrier()
        self.engine.save(checkpoints.scratch(self.plan.checkpoints))
        sources: list[Any] = [None] * self.ranks
        dist.all_gather_object(sources, self.source.state())
        if self.rank == 0:
            progress = {
                "curve": self.curve,
                "words_seen": self.words_seen,
                "documents_seen": self.documents_seen,
                "sources": sources,
                "spent_seconds": self.spent_seconds + time.monotonic() - began,
            }
            checkpoints.commit(self.plan.checkpoints, step=done, progress=progress, keep=self.config.checkpoint.keep)

    def _report(self, done: int, sums: dict[str, Any], began: float) -> None:
        steps = sums.pop("steps")  # fewer than usual right after resuming
        point = {name: float(value) / steps for name, value in sums.items()} | self.loss.drain()
        seconds = self.spent_seconds + time.monotonic() - began
        point |= {"step": float(done), "seconds": round(seconds, 2), "words": float(self.words_seen)}
        self.curve.append(point)
        self.reporter.step(point, steps=self.config.steps)

    def _write_result(self) -> None:
        from safetensors.torch import save_file

        measured, calibration = validate(
            TorchRuntime(self.engine.module.eval()),
            self.validation,
            labels=self.labels,
            most=self.config.validation_documents,
        )
        folder = self.plan.result.with_name(".result")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "model").mkdir(parents=True)
        weights = {
            name: value.detach().float().cpu().contiguous() for name, value in self.engine.module.state_dict().items()
        }
        save_file(weights, folder / "model" / WEIGHTS)
        write_config(
            folder / "model",
            ModelConfig(
                taxonomy_version=self.plan.taxonomy_version,
                encoder=self.config.encoder,
                labels=self.labels.to_json(),
                calibration=calibration,
            ),
        )
        taught = len(self.labels.header_fields) + len(self.labels.line_fields) - len(self.labels.untaught)
        metrics = measured | {
            "taught_fields": taught,
            "parameters": self.parameters,
            "steps": self.steps_done,
            "documents_seen": self.documents_seen,
            "words_seen": self.words_seen,
            "loss": round(self.curve[-1]["loss"], 5) if self.curve else 0.0,
            "seconds": round(self.spent_seconds, 1),
            "ranks": self.ranks,
            "backend": self.plan.backend,
            "backend_reason": self.plan.backend_reason,
            "resumed_from_step": self.resumed_from,
            "stopped_early": self.steps_done < self.config.steps,
        }
        write_json(folder / "losses.json", self.curve)
        write_json(folder / "metrics.json", metrics)
        shutil.rmtree(self.plan.result, ignore_errors=True)
        folder.rename(self.plan.result)
        self.reporter.done(metrics)

    @property
    def _on_gpu(self) -> bool:
        return self.config.launch.accelerator == "cuda"


def _mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    if dist.get_world_size() > 1:
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


def _train(plan: TrainingPlan[MultitaskModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    Trainer(plan, rank=rank, ranks=ranks, reporter=reporter).run()


def _start_from(name: str, model: MultitaskModel) -> None:
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = released_weights(released_folder(name), shapes)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})


if __name__ == "__main__":
    run_rank(MultitaskModelConfig, _train)
