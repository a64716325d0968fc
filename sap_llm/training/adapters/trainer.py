"""Training one adapter on a frozen base: steps, checkpoints, resuming.

Belongs here: the loop of one document stage on one rank. Which stages a process trains, and their results, is
`program`; the forward pass is `scoring`.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sap_llm.schema.document_stages import document_stage_names
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.adapters.batches import Batch, BatchPlan, Encoded, micro_batches
from sap_llm.training.adapters.config import StageAdaptersConfig
from sap_llm.training.adapters.scoring import loss_sum
from sap_llm.training.engine import learning_rate_factor
from sap_llm.training.shares import share

Report = Callable[[Mapping[str, float]], None]
_STATE = "adapter.pt"


class AdapterTrainer:
    """One adapter of a model that may hold others; the others and the base are not touched.

    Attributes:
        curve: Points of the loss curve so far.
        seconds: Spent on steps, earlier runs of the same version included.
        tokens_seen: That were passed through the model, all ranks together.
        pass_size: Examples of one pass of one rank.
        resumed_from: Step of the checkpoint that this run went on from, 0 for none.
    """

    def __init__(
        self,
        model: Any,
        stage: str,
        encoded: Sequence[Encoded],
        config: StageAdaptersConfig,
        *,
        rank: int = 0,
        ranks: int = 1,
        halvings: int = 0,
        device: str = "cpu",
        pad: int = 0,
    ) -> None:
        self.model, self.stage, self.encoded, self.config = model, stage, encoded, config
        self.rank, self.ranks, self.device, self.pad = rank, ranks, device, pad
        self.pass_size = share(
            config.batch_examples, ranks=ranks, micro_batch=config.launch.micro_batch, halvings=halvings
        ).micro_batch
        self.curve: list[dict[str, float]] = []
        self.seconds, self.tokens_seen, self.resumed_from = 0.0, 0, 0
        self._unreported: list[Tensor] = []  # losses of the steps since the last point
        model.set_adapter(stage)
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        settings = config.optimizer
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: learning_rate_factor(step, steps=config.steps, warmup_share=settings.warmup_share),
        )
        self.plan = BatchPlan(len(encoded), size=config.batch_examples, seed=seed_of(config.seed, stage))

    def run(self, folder: Path, report: Report) -> None:
        """Train from the newest checkpoint in `folder`, or from the start, to the last step."""
        done = self._resume(folder)
        began = last_saved = time.monotonic()
        spent_before = self.seconds
        self.model.train()
        while done < self.config.steps:
            self._unreported.append(self._step(done))
            done += 1
            self.seconds = spent_before + time.monotonic() - began
            if done % self.config.report_every_steps == 0 or done == self.config.steps:
                self._report(done, float(torch.stack(self._unreported).mean()), report)
                self._unreported = []
            if self._is_due(done, last_saved):
                self._save(folder, done)
                last_saved = time.monotonic()
        self.model.eval()

    def _step(self, step: int) -> Tensor:
        """One optimizer step on the whole effective batch; returns its loss by token, the same on every rank."""
        # Every draw follows from seed, stage, step and rank: a resumed run repeats what the killed one would have done.
        torch.manual_seed(seed_of(self.config.seed, self.stage, step, self.rank))
        chosen = [self.encoded[row] for row in self.plan.rows(step)]
        targets = sum(example.targets for example in chosen)
        own = chosen[self.rank :: self.ranks]
        total = torch.zeros((), device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        for batch in micro_batches(own, size=self.pass_size, pad=self.pad):
            with autocast(self.config, self.device):
                # a share of the effective batch's mean: the sum over micro-batches and ranks is that mean
                loss = loss_sum(self.model, moved(batch, self.device)) / targets
            loss.backward()
            total += loss.detach()
        total = self._sum_over_ranks(total)
        nn.utils.clip_grad_norm_(self.parameters.values(), self.config.optimizer.gradient_clipping)
        self.optimizer.step()
        self.schedule.step()
        self.tokens_seen += sum(len(example.ids) for example in chosen)
        return total

    def _sum_over_ranks(self, loss: Tensor) -> Tensor:
        """Add up gradients and loss in one message."""
        if self.ranks == 1:
            return loss
        gradients = [
            torch.zeros_like(value) if value.grad is None else value.grad for value in self.parameters.values()
        ]
        flat = torch.cat([loss.reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        dist.all_reduce(flat)
        offset = 1
        for value in self.parameters.values():
            value.grad = flat[offset : offset + value.numel()].view_as(value)
            offset += value.numel()
        return flat[0]

    def _report(self, done: int, loss: float, report: Report) -> None:
        point = {
            "step": float(done),
            "loss": loss,
            "learning_rate": float(self.schedule.get_last_lr()[0]),
            "seconds": round(self.seconds, 2),
            "words": float(self.tokens_seen),
            "document_stage": float(document_stage_names().index(self.stage)),
        }
        self.curve.append(point)
        report(point)

    def _is_due(self, done: int, last_saved: float) -> bool:
        if done >= self.config.steps:
            return False
        settings = self.config.checkpoint
        if done % settings.every_steps == 0:
            return True
        if done % 10 or not settings.every_seconds:
            return False
        is_late = torch.tensor(float(time.monotonic() - last_saved > settings.every_seconds), device=self.device)
        if self.ranks > 1:
            dist.all_reduce(is_late)  # clocks differ; all ranks must save at the same step
        return bool(is_late > 0)

    def _save(self, folder: Path, done: int) -> None:
        """Adapter and optimizer state; every rank holds the same, so rank 0 writes."""
        if self.rank == 0:
            checkpoints.prepare(folder)
            state = {
                "adapter": {name: value.detach().cpu() for name, value in self.parameters.items()},
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
            }
            torch.save(state, checkpoints.scratch(folder) / _STATE)
            progress = {
                "curve": self.curve,
                "seconds": self.seconds,
                "tokens_seen": self.tokens_seen,
                "unreported": [float(loss) for loss in self._unreported],
            }
            checkpoints.commit(folder, step=done, progress=progress, keep=self.config.checkpoint.keep)
        if self.ranks > 1:
            dist.barrier()

    def _resume(self, folder: Path) -> int:
        found = checkpoints.newest(folder)
        if found is None:
            return 0
        state = torch.load(found.folder / _STATE, weights_only=True, map_location=self.device)
        with torch.no_grad():
            for name, value in state["adapter"].items():
                self.parameters[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        progress = found.progress()
        self.curve, self.seconds = progress["curve"], progress["seconds"]
        self.tokens_seen, self.resumed_from = progress["tokens_seen"], found.step
        self._unreported = [torch.tensor(loss, device=self.device) for loss in progress["unreported"]]
        return found.step


def autocast(config: StageAdaptersConfig, device: str) -> Any:
    """Matrix products in the configured precision; the adapter's factors stay float32."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=config.launch.precision == "bf16")


def moved(batch: Batch, device: str) -> Batch:
    """The batch where the model is."""
    return Batch(batch.input_ids.to(device), batch.attention_mask.to(device), batch.labels.to(device))


def seed_of(*parts: object) -> int:
    """A seed of 63 bits that follows from the parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
