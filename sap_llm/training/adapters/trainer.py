"""Training one adapter on a frozen base that may hold others: the steps of one document stage, and its result.

Belongs here: what of the common loop (`training.loop`) is special to an adapter. Loading the base and the order of the
stages is `program`; the forward pass is `scoring`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sap_llm.modeling.adapters import AdapterCard, save_adapter
from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.adapters.base import Base, moved
from sap_llm.training.adapters.batches import Batch, BatchPlan, Encoded, micro_batches, padded
from sap_llm.training.adapters.config import StageAdaptersConfig
from sap_llm.training.adapters.scoring import AdapterLoss, Scores, score
from sap_llm.training.adapters.stage import BASE, TRAINING_SET, stage_of
from sap_llm.training.engine import open_engine
from sap_llm.training.loop import COMPUTE, TrainingLoop
from sap_llm.training.meter import LORA, Meter
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter
from sap_llm.training.shares import share


class AdapterTrainer(TrainingLoop[StageAdaptersConfig]):
    """One rank of the training of one adapter; the base and its other adapters are not touched."""

    def __init__(
        self, plan: TrainingPlan[StageAdaptersConfig], base: Base, *, rank: int, ranks: int, reporter: Reporter
    ) -> None:
        super().__init__(plan, rank=rank, ranks=ranks, reporter=reporter)
        self.stage, self.base = stage_of(plan.name), base
        self.learned, self.too_long = base.encoded(self.stage, "train")
        self.validated, _ = base.encoded(self.stage, "validation")
        if not self.learned:
            raise ConfigurationError(
                f"no document gives an example of {self.stage} ({self.too_long} are longer than most_tokens)",
                where=str(plan.inputs[TRAINING_SET]),
                remedy="Annotate documents that have one, or raise most_tokens.",
            )
        self.shares = share(
            self.config.batch_examples,
            ranks=ranks,
            micro_batch=self.config.launch.micro_batch,
            halvings=plan.halvings,
        )
        # Drawn by the stage's own seed: the adapter is the same whether it is trained alone or with others.
        seed = seed_of(self.config.seed, self.stage)
        torch.manual_seed(seed)
        base.add(self.stage, self.config.lora)
        self.order = BatchPlan(len(self.learned), size=self.config.batch_examples, seed=seed)
        module = AdapterLoss(base.model, self.stage)
        self.parameters = sum(value.numel() for value in module.parameters())
        self.engine = open_engine(module, self.config, backend=plan.backend, accumulation=self.shares.accumulation)
        self.record = Record(
            Meter(
                unit="tokens",
                parameters=base.parameters,
                peak_flops=self.device_flops(),
                flops_per_parameter=LORA,
            )
        )

    def opening(self) -> str:
        """What is said when training starts afresh."""
        return f"{self.stage}: {len(self.learned)} examples, {len(self.validated)} to validate"

    def piece(self, number: int) -> None:
        """Learn from some of a step's examples; the loss of a step is a mean over the tokens of all its answers."""
        step, size = self.record.step, self.shares.micro_batch
        torch.manual_seed(seed_of(self.config.seed, self.stage, step, number))
        chosen = [self.learned[row] for row in self.order.rows(step)]
        targets = sum(example.targets for example in chosen)
        own = sorted(chosen, key=lambda example: len(example.ids))[number * size : (number + 1) * size]
        batch = moved(padded(own, pad=self.base.pad), self.device)
        with self._autocast():
            # the engine averages over pieces and ranks
            loss = self.engine.module(batch) * (self.shares.pieces / targets)
        self.engine.step(loss)
        words = sum(len(example.ids) for example in own) * self.ranks
        self.record.add({"loss": loss.detach()}, words=words, documents=len(own) * self.ranks)

    def measure(self) -> None:
        """Score the validation examples with the adapter and without it; all ranks where the base is sharded."""
        if self.rank and not self.config.shard_base:
            return
        self.base.model.eval()
        self._with_adapter = self._score(self.validated)
        with self.base.model.disable_adapter():
            self._without = self._score(self.validated)

    def write_result(self, weights: dict[str, Tensor]) -> None:
        """Adapter folder, loss curve, and metrics with and without the adapter."""
        del weights  # the model holds the same
        with_adapter, without = self._with_adapter, self._without
        folder = self.scratch()
        card = AdapterCard(
            document_stage=self.stage,
            base=str(self.plan.inputs[BASE]),
            base_digest=self.base.digest,
            taxonomy_version=self.plan.taxonomy_version,
            lora=self.config.lora,
        )
        size = save_adapter(folder / "adapter", self.base.model, card)
        metrics: dict[str, Any] = {
            **with_adapter.metrics(),
            **without.metrics("_base"),
            **_gain(with_adapter, without),
            "adapter_bytes": size,
            "adapter_parameters": self.parameters,
            "base_parameters": self.base.parameters,
            "examples": len(self.learned),
            "examples_too_long": self.too_long,
            "validation_examples": with_adapter.examples,
            "tokens_seen": self.record.words,
            "base_digest": self.base.digest,
            **self.metrics(),
        }
        self.publish(folder, metrics, document_stage=self.stage)

    def _score(self, encoded: Sequence[Encoded]) -> Scores:
        batches = micro_batches(encoded, size=self.shares.micro_batch, pad=self.base.pad)
        with self._autocast():
            scores: Scores = score(self.base.model, self._alive(moved(batch, self.device) for batch in batches))
        return scores

    def _alive(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.reporter.beat()
            yield batch

    def _autocast(self) -> Any:
        """Matrix products in the configured precision; the adapter's factors stay float32."""
        precision = self.config.launch.precision
        return torch.autocast(self.device.type, dtype=COMPUTE[precision], enabled=precision == "bf16")


def _gain(with_adapter: Scores, without: Scores) -> Mapping[str, Any]:
    if not with_adapter.examples:
        return {}
    gain = without.loss - with_adapter.loss
    return {"validation_loss_gain": round(gain, 5), "is_improved": gain > 0}


def seed_of(*parts: object) -> int:
    """A seed of 63 bits that follows from the parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
