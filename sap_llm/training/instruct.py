"""The training program of `instructed_model`: `python -m sap_llm.training.instruct --plan FILE`, one process per rank.

Belongs here: the loop over optimizer steps, resuming, and the result folder. Encoded pairs are `conversations`, what is
measured afterwards is `instruct_validation`; what is around the loop in every training program is `rank`.
"""

import os
import shutil
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sap_llm.modeling import packed_attention
from sap_llm.modeling.qwen import build_processor, load_qwen, save_qwen
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.conversations import Conversations, Encoded, places_of, settings_of
from sap_llm.training.engine import Engine, open_engine
from sap_llm.training.instruct_validation import measure_instructed
from sap_llm.training.instructed import BASE, MODEL_FOLDER, PAIRS, InstructedModelConfig
from sap_llm.training.packing import IGNORED
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter, write_json
from sap_llm.training.shares import share

_COMPUTE = {"bf16": torch.bfloat16, "fp32": torch.float32}


class AnswerLoss(nn.Module):
    """The model with its loss: cross entropy of answers alone, so that no logits are made where nothing is learned."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        model.set_attn_implementation({"text_config": packed_attention.register()})

    def forward(self, inputs: dict[str, Any], labels: Tensor) -> Tensor:
        """Sum over the tokens of all answers; `labels` int64 [tokens] are the next tokens."""
        hidden = self.model.model(**inputs, use_cache=False).last_hidden_state[0]
        is_answer = labels != IGNORED
        logits = self.model.lm_head(hidden[is_answer]).float()
        return nn.functional.cross_entropy(logits, labels[is_answer], reduction="sum")


class Instructor:
    """One rank of a training run."""

    def __init__(self, plan: TrainingPlan[InstructedModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
        self.plan, self.config, self.rank, self.ranks, self.reporter = plan, plan.config, rank, ranks, reporter
        base = plan.input_path(BASE, MODEL_FOLDER)
        self.settings = settings_of(plan.input_path(PAIRS))
        self.processor = build_processor(base, self.settings.shape)
        self.train = self.conversations("train")
        self.shares = share(
            self.config.batch_pairs, ranks=ranks, micro_batch=self.config.launch.micro_batch, halvings=plan.halvings
        )
        torch.manual_seed(self.config.seed)
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if self._on_gpu else "cpu"
        model, _ = load_qwen(base)
        if self.config.launch.activation_checkpointing:
            model.gradient_checkpointing_enable()
        self.parameters = sum(value.numel() for value in model.parameters())
        self.engine: Engine = open_engine(
            AnswerLoss(model).to(self.device), self.config, backend=plan.backend, accumulation=self.shares.accumulation
        )
        self.curve: list[dict[str, float]] = []
        self.counts = {"pairs": 0, "tokens": 0, "answer_tokens": 0, "too_long": 0}  # of this rank
        self.resumed_from = 0
        self.spent_seconds = 0.0  # by earlier runs of the same version

    def conversations(self, split: str) -> Conversations:
        """The pairs of a split."""
        return Conversations(
            self.plan.input_path(PAIRS),
            self.processor,
            self.settings,
            split=split,
            most_tokens=self.config.most_tokens,
        )

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, and write the result folder."""
        start = self._resume()
        began = last_saved = time.monotonic()
        losses: list[Tensor] = []
        for done in range(start + 1, self.config.steps + 1):
            losses.append(self._step(done - 1))
            if done % self.config.report_every_steps == 0 or done == self.config.steps:
                self._report(done, torch.stack(losses).mean(), began)
                losses = []
            if done < self.config.steps and self._is_due(done, last_saved):
                self._save(done, began)
                last_saved = time.monotonic()
        self.spent_seconds += time.monotonic() - began
        weights, counts = self.engine.weights(), self._over_ranks()
        if self.rank == 0:  # the others are done
            self._write_result(weights, counts)

    def _step(self, step: int) -> Tensor:
        """One optimizer step; returns this rank's share of the loss, a mean over the answers' tokens of all ranks."""
        rows = {
            piece: places_of(
                step,
                piece,
                pieces=self.shares.pieces,
                batch=self.config.batch_pairs,
                pairs=len(self.train),
                seed=self.config.seed,
            )
            for piece in range(self.shares.pieces)
        }
        answer_tokens = sum(int(self.train.answer_lengths[places].sum()) for places in rows.values())
        self.engine.module.train()
        total = torch.zeros((), device=self.device)
        for piece in self.shares.of_rank(self.rank):
            # the engine averages over pieces and ranks, the loss is a mean over tokens
            loss = self._loss(self.train.encode(rows[piece])) * (self.shares.pieces / answer_tokens)
            self.engine.step(loss)
            self.counts["pairs"] += len(rows[piece])
            total += loss.detach() / self.shares.pieces
        return total

    def _loss(self, encoded: Encoded | None) -> Tensor:
        if encoded is None:
            self.counts["too_long"] += self.shares.micro_batch
            return torch.stack([value.sum() for value in self.engine.module.parameters()]).sum() * 0.0
        self.counts["too_long"] += encoded.too_long
        self.counts["tokens"] += encoded.pack.real_tokens
        self.counts["answer_tokens"] += encoded.pack.targets
        with torch.autocast(
            torch.device(self.device).type,
            dtype=_COMPUTE[self.config.launch.precision],
            enabled=self.config.launch.precision == "bf16",
        ):
            loss: Tensor = self.engine.module(encoded.inputs(self.device), encoded.labels(self.device))
        return loss

    def _resume(self) -> int:
        found = checkpoints.newest(self.plan.checkpoints)
        if found is None:
            self.reporter.say(
                f"instructing {self.parameters / 1e6:.2f} M parameters of {self.plan.inputs[BASE]} with "
                f"{len(self.train)} pairs, {self.plan.backend} x {self.ranks} ({self.plan.backend_reason})"
            )
            return 0
        self.engine.load(found.folder)
        progress = found.progress()
        self.curve, self.spent_seconds = progress["curve"], progress["spent_seconds"]
        if self.rank == 0:  # the others count on from nothing: only sums over ranks are looked at
            self.counts = progress["counts"]
        self.reporter.say(f"resumed from the checkpoint of step {found.step} of {self.config.steps}")
        self.resumed_from = found.step
        return found.step

    def _is_due(self, done: int, last_saved: float) -> bool:
        if done % self.config.checkpoint.every_steps == 0:
            return True
        if not self.config.checkpoint.every_seconds:
            return False
        late = torch.tensor(float(time.monotonic() - last_saved > self.config.checkpoint.every_seconds))
        late = late.to(self.device)
        dist.all_reduce(late)  # all ranks must save at the same step
        return bool(late > 0)

    def _save(self, done: int, began: float) -> None:
        if self.rank == 0:
            checkpoints.prepare(self.plan.checkpoints)
        dist.barrier()
        self.engine.save(checkpoints.scratch(self.plan.checkpoints))
        counts = self._over_ranks()
        if self.rank == 0:
            progress = {
                "curve": self.curve,
                "counts": counts,
                "spent_seconds": self.spent_seconds + time.monotonic() - began,
            }
            checkpoints.commit(self.plan.checkpoints, step=done, progress=progress, keep=self.config.checkpoint.keep)

    def _over_ranks(self) -> dict[str, int]:
        """Counts of all ranks together; a barrier besides."""
        values = torch.tensor(list(self.counts.values()), device=self.device)
        dist.all_reduce(values)
        return dict(zip(self.counts, values.tolist(), strict=True))

    def _report(self, done: int, loss: Tensor, began: float) -> None:
        dist.all_reduce(loss)  # shares of a mean add up to it
        counts = self._over_ranks()
        seconds = self.spent_seconds + time.monotonic() - began
        point = {"step": float(done), "loss": float(loss), "seconds": round(seconds, 2)}
        point |= {"words": float(counts["tokens"]), "answer_tokens": float(counts["answer_tokens"])}
        self.curve.append(point)
        self.reporter.step(point, steps=self.config.steps)

    def _write_result(self, weights: dict[str, Tensor], counts: dict[str, int]) -> None:
        folder = self.plan.result.with_name(".result")
        shutil.rmtree(folder, ignore_errors=True)
        model, _ = load_qwen(self.plan.input_path(BASE, MODEL_FOLDER))
        model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        save_qwen(folder / MODEL_FOLDER, model, self.processor)
        self.settings.write(folder / MODEL_FOLDER)
        del self.engine  # its memory is the validation's now
        measured = measure_instructed(
            folder,
            self.conversations,
            self.config.validation,
            device=str(self.device),
            dtype="bfloat16" if self._on_gpu else "float32",
            journal=self.plan.result.with_name("answers.jsonl"),
            say=self.reporter.say,
        )
        metrics = measured | {
            "parameters": self.parameters,
            "steps": self.config.steps,
            "loss": round(self.curve[-1]["loss"], 5) if self.curve else 0.0,
            "seconds": round(self.spent_seconds, 1),
            "ranks": self.ranks,
            "backend": self.plan.backend,
            "backend_reason": self.plan.backend_reason,
            "resumed_from_step": self.resumed_from,
            "pairs_seen": counts["pairs"],
            "pairs_too_long": counts["too_long"],
            "tokens_seen": counts["tokens"],
            "answer_tokens_seen": counts["answer_tokens"],
        }
        write_json(folder / "losses.json", self.curve)
        write_json(folder / "metrics.json", metrics)
        shutil.rmtree(self.plan.result, ignore_errors=True)
        folder.rename(self.plan.result)
        self.reporter.done(metrics)

    @property
    def _on_gpu(self) -> bool:
        return self.config.launch.accelerator == "cuda"


def _train(plan: TrainingPlan[InstructedModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    Instructor(plan, rank=rank, ranks=ranks, reporter=reporter).run()


if __name__ == "__main__":
    run_rank(InstructedModelConfig, _train)
