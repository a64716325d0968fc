"""The training program of `instructed_model`: `python -m sap_llm.training.instruct --plan FILE`, one process per rank.

Belongs here: the loop over optimizer steps, resuming, and the result folder. Encoded pairs are `conversations`, what is
measured afterwards is `instruct_validation`; what is around the loop in every training program is `rank`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sap_llm.modeling import packed_attention
from sap_llm.modeling.qwen import QwenShape, build_processor, load_qwen, qwen_config, save_qwen, with_weights
from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.conversations import Conversations, Encoded, places_of, settings_of
from sap_llm.training.deepspeed_settings import deepspeed_settings
from sap_llm.training.engine import open_engine
from sap_llm.training.instruct_validation import measure_instructed
from sap_llm.training.instructed import BASE, MODEL_FOLDER, PAIRS, InstructedModelConfig
from sap_llm.training.loop import COMPUTE, TrainingLoop
from sap_llm.training.meter import Meter
from sap_llm.training.packing import IGNORED
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter
from sap_llm.training.shares import share


class AnswerLoss(nn.Module):
    """The model with its loss: cross entropy of answers alone, so that no logits are made where nothing is learned."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        model.set_attn_implementation({"text_config": packed_attention.register()})

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any]) -> None:
        """Compute activations again; the engine asks for it by the name that transformers gives it."""
        self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs)

    def forward(self, inputs: dict[str, Any], labels: Tensor) -> Tensor:
        """Sum over the tokens of all answers; `labels` int64 [tokens] are the next tokens."""
        hidden = self.model.model(**inputs, use_cache=False).last_hidden_state[0]
        is_answer = labels != IGNORED
        logits = self.model.lm_head(hidden[is_answer]).float()
        return nn.functional.cross_entropy(logits, labels[is_answer], reduction="sum")


class Instructor(TrainingLoop[InstructedModelConfig]):
    """One rank of a training run."""

    def __init__(self, plan: TrainingPlan[InstructedModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
        super().__init__(plan, rank=rank, ranks=ranks, reporter=reporter)
        base = plan.input_path(BASE, MODEL_FOLDER)
        self.settings = settings_of(plan.input_path(PAIRS))
        self.processor = build_processor(base, self.settings.shape)
        self.train = self.conversations("train")
        if not len(self.train):
            raise ConfigurationError(
                f"none of {self.train.too_long} pairs has at most {self.config.most_tokens} tokens",
                where=str(plan.inputs[PAIRS]),
                remedy="Raise most_tokens, or make smaller pictures and fewer words of instruction_pairs.",
            )
        self.shares = share(
            self.config.batch_pairs, ranks=ranks, micro_batch=self.config.launch.micro_batch, halvings=plan.halvings
        )
        is_sharded = plan.backend == "deepspeed" and self.config.launch.zero_stage == 3
        model, _ = load_qwen(base, sharding=deepspeed_settings(self.config) if is_sharded else None)
        self._check(model)
        self.parameters = sum(getattr(value, "ds_numel", value.numel()) for value in model.parameters())
        loss = AnswerLoss(model).to(self.device)
        self.engine = open_engine(loss, self.config, backend=plan.backend, accumulation=self.shares.accumulation)
        self.record = Record(Meter(unit="tokens", parameters=self.parameters, peak_flops=self.device_flops()))

    def conversations(self, split: str) -> Conversations:
        """The pairs of a split."""
        folder, most = self.plan.input_path(PAIRS), self.config.most_tokens
        return Conversations(folder, self.processor, self.settings, split=split, most_tokens=most)

    def opening(self) -> str:
        """What is said when training starts afresh."""
        pairs = f"{len(self.train)} pairs ({self.train.too_long} too long)"
        return f"instructing {self.parameters / 1e6:.2f} M parameters with {pairs}"

    def piece(self, number: int) -> None:
        """Learn from some of a step's pairs; the loss of a step is a mean over the tokens of all its answers."""
        places = [self._places(piece) for piece in range(self.shares.pieces)]
        answer_tokens = int(self.train.answer_lengths[[place for piece in places for place in piece]].sum())
        with self.record.meter.part("data"):
            encoded = self.train.encode(places[number])
        loss = self._loss(encoded) * (self.shares.pieces / answer_tokens)  # the engine averages over pieces and ranks
        self.engine.step(loss)
        tokens, pairs = encoded.pack.real_tokens, len(places[number])
        self.record.add({"loss": loss.detach()}, words=tokens * self.ranks, documents=pairs * self.ranks)

    def write_result(self, weights: dict[str, Tensor]) -> None:
        """Model folder, loss curve, metrics, and F1 by vendor with and without similar cases."""
        folder = self.scratch()
        dtype = "bfloat16" if self.is_on_gpu else "float32"
        own = {name.removeprefix("model."): value for name, value in weights.items()}
        model = with_weights(self.plan.input_path(BASE, MODEL_FOLDER), own, dtype=dtype)
        save_qwen(folder / MODEL_FOLDER, model, self.processor)
        self.settings.write(folder / MODEL_FOLDER)
        del self.engine  # its memory is the validation's now
        measured = measure_instructed(
            folder,
            self.conversations,
            self.config.validation,
            device=str(self.device),
            dtype=dtype,
            journal=self.plan.result.with_name("answers.jsonl"),
            reporter=self.reporter,
        )
        metrics = measured | self.metrics()
        metrics |= {
            "parameters": self.parameters,
            "pairs_seen": self.record.documents,
            "tokens_seen": self.record.words,
            "pairs_too_long": self.train.too_long,
        }
        self.publish(folder, metrics)

    def _check(self, model: Any) -> None:
        """The memory planner was told another size than this is."""
        told, found = qwen_config(QwenShape(size=self.config.size)).text_config, model.config.text_config
        if (told.hidden_size, told.num_hidden_layers) != (found.hidden_size, found.num_hidden_layers):
            raise ConfigurationError(
                f"{found.num_hidden_layers} layers of width {found.hidden_size} are not the size {self.config.size}",
                where=str(self.plan.inputs[BASE]),
                remedy="Set size to that of domain_model's backbone.",
            )

    def _places(self, piece: int) -> list[int]:
        return places_of(
            self.record.step,
            piece,
            pieces=self.shares.pieces,
            batch=self.config.batch_pairs,
            pairs=len(self.train),
            seed=self.config.seed,
        )

    def _loss(self, encoded: Encoded) -> Tensor:
        """Sum over the answers' tokens."""
        compute = COMPUTE[self.config.launch.precision]
        with torch.autocast(self.device.type, dtype=compute, enabled=compute == torch.bfloat16):
            loss: Tensor = self.engine.module(encoded.inputs(self.device), encoded.labels(self.device))
        return loss


def _train(plan: TrainingPlan[InstructedModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    Instructor(plan, rank=rank, ranks=ranks, reporter=reporter).run()


if __name__ == "__main__":
    run_rank(InstructedModelConfig, _train)
