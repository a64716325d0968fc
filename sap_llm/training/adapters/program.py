"""The launched program of `stage_adapters`: `python -m sap_llm.training.adapters.program --plan FILE` on each rank.

Belongs here: loading the base once, training one adapter after the other, and their result folders. The plan names the
plans of other partitions that the same processes work off (`also`); each result is the same whether its adapter is
trained alone or with others.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from sap_llm.modeling.adapters import AdapterCard, attach, base_digest, save_adapter
from sap_llm.modeling.qwen import load_qwen
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.store import DatasetStore
from sap_llm.training.adapters.batches import Encoded, encode, micro_batches
from sap_llm.training.adapters.config import StageAdaptersConfig
from sap_llm.training.adapters.documents import StageDocument, read_documents
from sap_llm.training.adapters.scoring import Scores, score
from sap_llm.training.adapters.stage import BASE, TRAINING_SET, stage_of
from sap_llm.training.adapters.tasks import examples
from sap_llm.training.adapters.trainer import AdapterTrainer, autocast, moved, seed_of
from sap_llm.training.instructed import MODEL_FOLDER
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter, write_json

Plan = TrainingPlan[StageAdaptersConfig]


class AdaptersProgram:
    """One rank: the base, the documents, and the adapters of all plans."""

    def __init__(self, plan: Plan, *, rank: int, ranks: int, reporter: Reporter) -> None:
        self.plan, self.config, self.rank, self.ranks, self.reporter = plan, plan.config, rank, ranks, reporter
        self.device = "cpu"
        if self.config.launch.accelerator == "cuda":
            self.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            torch.cuda.set_device(self.device)
        folder = plan.input_path(BASE, MODEL_FOLDER)
        self.digest = base_digest(folder)
        dtype = "float32" if self.config.launch.weights == "fp32" else "bfloat16"
        base, self.processor = load_qwen(folder, dtype=dtype, attention=self.config.attention)
        if self.config.launch.activation_checkpointing:
            base.activation_checkpointing_enable({"use_reentrant": False})
        self.base_parameters = base.num_parameters()
        self.model: Any = base.to(self.device)
        training_set = open_input(plan, TRAINING_SET)
        self.documents = {
            "train": list(read_documents(training_set, split="train", most=self.config.documents)),
            "validation": list(read_documents(training_set, split="validation", most=self.config.validation_documents)),
        }

    def run(self, plans: Sequence[Plan]) -> None:
        """Train the adapter of each plan whose result is not there yet."""
        for plan in plans:
            if not plan.result.is_dir():
                self._train(plan, stage_of(plan.name))
            if self.ranks > 1:
                dist.barrier()

    def _train(self, plan: Plan, stage: str) -> None:
        learned, too_long = self._encoded(stage, self.documents["train"])
        validated, _ = self._encoded(stage, self.documents["validation"])
        if not learned:
            raise ConfigurationError(
                f"no document gives an example of {stage} ({too_long} are longer than most_tokens)",
                where=str(plan.inputs[TRAINING_SET]),
                remedy="Annotate documents that have one, or raise most_tokens.",
            )
        self._add(stage)
        trainer = AdapterTrainer(
            self.model, stage, learned, self.config,
            rank=self.rank, ranks=self.ranks, halvings=self.plan.halvings, device=self.device, pad=self._pad,
        )  # fmt: skip
        self.reporter.say(f"{stage}: {len(learned)} examples, {len(validated)} to validate")
        trainer.run(plan.checkpoints, lambda point: self.reporter.step(point, steps=self.config.steps))
        if self.rank == 0:
            self._write_result(plan, stage, trainer, validated, too_long)

    def _encoded(self, stage: str, documents: Sequence[StageDocument]) -> tuple[list[Encoded], int]:
        made = examples(stage, documents, self.config.tasks, seed=self.config.seed)
        return encode(made, self.processor, most_tokens=self.config.most_tokens)

    def _add(self, stage: str) -> None:
        """Put an untrained adapter on the base, its factors drawn by the stage's own seed."""
        torch.manual_seed(seed_of(self.config.seed, stage))
        self.model = attach(self.model, self.config.lora, [stage]).to(self.device)

    def _write_result(
        self, plan: Plan, stage: str, trainer: AdapterTrainer, validated: Sequence[Encoded], too_long: int
    ) -> None:
        with_adapter = self._score(validated, trainer.pass_size)
        with self.model.disable_adapter():
            without = self._score(validated, trainer.pass_size)
        folder = plan.result.with_name(".result")
        shutil.rmtree(folder, ignore_errors=True)
        card = AdapterCard(
            document_stage=stage,
            base=str(plan.inputs[BASE]),
            base_digest=self.digest,
            taxonomy_version=plan.taxonomy_version,
            lora=self.config.lora,
        )
        size = save_adapter(folder / "adapter", self.model, card)
        metrics: dict[str, Any] = {
            **with_adapter.metrics(),
            **without.metrics("_base"),
            **_gain(with_adapter, without),
            "adapter_bytes": size,
            "adapter_parameters": sum(value.numel() for value in trainer.parameters.values()),
            "base_parameters": self.base_parameters,
            "examples": len(trainer.encoded),
            "examples_too_long": too_long,
            "validation_examples": with_adapter.examples,
            "loss": round(trainer.curve[-1]["loss"], 5),
            "steps": self.config.steps,
            "tokens_seen": trainer.tokens_seen,
            "seconds": round(trainer.seconds, 1),
            "ranks": self.ranks,
            "resumed_from_step": trainer.resumed_from,
            "base_digest": self.digest,
        }
        write_json(folder / "losses.json", trainer.curve)
        write_json(folder / "metrics.json", metrics)
        shutil.rmtree(plan.result, ignore_errors=True)
        folder.rename(plan.result)
        self.reporter.done({"document_stage": stage, **metrics})

    def _score(self, encoded: Sequence[Encoded], size: int) -> Scores:
        batches = micro_batches(encoded, size=size, pad=self._pad)
        with autocast(self.config, self.device):
            return score(self.model, (moved(batch, self.device) for batch in batches))

    @property
    def _pad(self) -> int:
        return int(self.processor.tokenizer.pad_token_id)


def open_input(plan: Plan, asset: str) -> Any:
    """The consumed version of `asset` with the store around it: its own inputs are read too."""
    folder, ref = Path(plan.folders[asset]), plan.inputs[asset]
    root = folder.parents[len(Path(ref.name).parts)]
    return DatasetStore(root).open(ref)


def _gain(with_adapter: Scores, without: Scores) -> Mapping[str, Any]:
    if not with_adapter.examples:
        return {}
    gain = without.loss - with_adapter.loss
    return {"validation_loss_gain": round(gain, 5), "is_improved": gain > 0}


def train(plan: Plan, *, rank: int, ranks: int, reporter: Reporter) -> None:
    """Train the adapters of this plan and of those that it names beside it."""
    others = [TrainingPlan.read(Path(path), StageAdaptersConfig) for path in plan.also]
    AdaptersProgram(plan, rank=rank, ranks=ranks, reporter=reporter).run([plan, *others])


if __name__ == "__main__":
    run_rank(StageAdaptersConfig, train)
