"""The training program of the document model: `python -m sap_llm.training.program --plan FILE`, one process per rank.

Belongs here: what of the common loop (`loop`) is special to pages: batches of words and their labels, validating while
training, the result folder. Everything is read from the plan; what is around the loop is `rank`, where batches come
from `source`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from torch import Tensor

from sap_llm.modeling.backbones.protocol import Reader
from sap_llm.modeling.confidence import Calibration
from sap_llm.modeling.features import PaddedWords
from sap_llm.modeling.folder import WEIGHTS, ModelConfig, write_config
from sap_llm.modeling.heads import MultitaskModel, Scores
from sap_llm.modeling.labels import LabelSet
from sap_llm.modeling.released_model import released_folder, released_weights
from sap_llm.modeling.shards import Shard, for_training, read_shard
from sap_llm.modeling.torch_runtime import TorchRuntime, tensors
from sap_llm.training.batches import Batch
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.engine import open_engine
from sap_llm.training.loop import COMPUTE, TrainingLoop
from sap_llm.training.losses import DocumentLoss, Targets
from sap_llm.training.meter import Meter
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter
from sap_llm.training.shares import share
from sap_llm.training.source import ShardSource, Source, StreamSource, taught_labels
from sap_llm.training.validate import validate


class Trainer(TrainingLoop[MultitaskModelConfig]):
    """One rank of a training run."""

    def __init__(self, plan: TrainingPlan[MultitaskModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
        super().__init__(plan, rank=rank, ranks=ranks, reporter=reporter)
        table = pq.read_table(plan.input_path("training_set", "shards.parquet"), memory_map=True)
        train = read_shard(table, split="train")
        self.labels: LabelSet = taught_labels(train, self.config)
        self.learned: Shard = for_training(train, self.labels)
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
            else ShardSource(self.learned, self.config, self.shares)
        )
        model = MultitaskModel(self.config.backbone, self.labels)
        if self.config.initial:
            _start_from(self.config.initial, model)
        model.to(self.device)
        self.backbone: Reader = model.encoder
        self.parameters = sum(value.numel() for value in model.parameters())
        self.engine = open_engine(model, self.config, backend=plan.backend, accumulation=self.shares.accumulation)
        self.loss = DocumentLoss(
            self.config.losses,
            subtype_ranges=self.labels.subtype_ranges(),
            subtypes=len(self.labels.subtypes),
            smoothing=self.config.optimizer.label_smoothing,
        )
        self.record = Record(Meter(unit="words", parameters=self.parameters, peak_flops=self.device_flops()))
        self._prepared: dict[int, tuple[Batch, Targets]] = {}  # this rank's pieces of the current step not yet learned
        self._counts = torch.zeros(0)

    def opening(self) -> str:
        """What is said when training starts afresh."""
        start = self.config.initial or "random weights"
        return f"training from {start}: {self.parameters / 1e6:.2f} M parameters, {len(self.learned)} windows"

    def state(self) -> dict[str, Any]:
        """Where the source of batches stands."""
        return self.source.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self.source.resume(dict(state))

    def piece(self, number: int) -> None:
        """Learn from a batch; each task of a step is the mean over all its labels, in whatever piece they are."""
        if not self._prepared:
            self._prepare()
        batch, targets = self._prepared.pop(number)
        # dropout too follows from these numbers: a resumed run repeats what the killed one would have done
        torch.manual_seed(int(np.random.default_rng([self.config.seed, self.record.step, number]).integers(2**62)))
        losses = self.loss(self._scores(batch), targets, self._counts)
        self.engine.step(losses.total)
        self.record.add(
            {**losses.parts, "loss": losses.total.detach()},
            shares=losses.labelled,
            words=int(batch.mask.sum()) * self.ranks,
            documents=len(batch.mask) * self.ranks,
        )

    def _prepare(self) -> None:
        """The pieces of a step on this rank, and how many labels each task has in all pieces together."""
        with self.record.meter.part("data"):
            batches = {number: self.source.batch(self.record.step, number) for number in self.shares.of_rank(self.rank)}
        self._prepared = {number: (one, Targets.of(one, device=self.device)) for number, one in batches.items()}
        counts = torch.stack([self.loss.counts(targets) for _, targets in self._prepared.values()]).sum(dim=0)
        if self.ranks > 1:
            dist.all_reduce(counts)
        self._counts = counts / self.shares.pieces

    def _scores(self, batch: Batch) -> Scores:
        inputs = tensors(batch, device=self.device)
        with torch.autocast(
            self.device.type,
            dtype=COMPUTE[self.config.launch.precision],
            enabled=self.config.launch.precision == "bf16",
        ):
            scores: Scores = self.engine.module(*inputs)
        return scores

    def is_over(self) -> bool:
        """Whether the time is up."""
        return 0 < self.config.max_seconds < self.record.seconds

    def is_validated(self, done: int) -> bool:
        """Every so many steps, and after the last one."""
        every = self.config.validation.every_steps
        return every > 0 and len(self.validation) > 0 and (done % every == 0 or done == self.config.steps)

    def validate(self) -> dict[str, float]:
        """Scores on a part of the validation split, by rank 0; the others wait at their next message."""
        weights = self.engine.weights()
        return self._scored(weights, most=self.config.validation.documents)[0] if self.rank == 0 else {}

    def measure(self) -> None:
        """Nothing is measured by all ranks; the workers of a stream have done their work."""
        self.source.close()

    def _scored(self, weights: dict[str, Tensor], *, most: int) -> tuple[dict[str, float], Calibration]:
        model = MultitaskModel(self.config.backbone, self.labels)
        model.load_state_dict(weights)
        runtime = TorchRuntime(model.to(self.device).eval())

        def score(batch: PaddedWords) -> dict[str, npt.NDArray[np.float32]]:
            self.reporter.beat()  # a rank that validates is alive
            return runtime(batch)

        return validate(score, self.validation, labels=self.labels, most=most)

    def write_result(self, weights: dict[str, Tensor]) -> None:
        """Model folder, loss curve and metrics."""
        from safetensors.torch import save_file

        measured, calibration = self._scored(weights, most=self.config.validation_documents)
        folder = self.scratch()
        (folder / "model").mkdir()
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
        taught = len(self.labels.header_fields) + len(self.labels.line_fields) - len(self.labels.untaught)
        metrics = measured | self.metrics()
        metrics |= {
            "taught_fields": taught,
            "parameters": self.parameters,
            "documents_seen": self.record.documents,
            "words_seen": self.record.words,
            "stopped_early": self.record.step < self.config.steps,
        }
        self.publish(folder, metrics)


def _start_from(name: str, model: MultitaskModel) -> None:
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = released_weights(released_folder(name), shapes)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})


def _train(plan: TrainingPlan[MultitaskModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    Trainer(plan, rank=rank, ranks=ranks, reporter=reporter).run()


if __name__ == "__main__":
    run_rank(MultitaskModelConfig, _train)
