"""What one optimizer step and one checkpoint are, on DeepSpeed or on plain torch.distributed.

Belongs here: joining the ranks, averaging gradients, sharding and saving optimizer state. The loop is `program`, the
update itself `optimizer`; which of the two is used was decided by `launch` and stands in the plan.
"""

import math
import os
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sap_llm.training.config import TrainingStageConfig
from sap_llm.training.optimizer import make_optimizer

_GLOO_STATE = "state.pt"


class Engine(Protocol):
    """A model with its optimizer, spread over the ranks."""

    module: nn.Module

    def step(self, loss: Tensor) -> None:
        """Differentiate, average over ranks, clip, update, advance the learning rate."""
        ...

    def save(self, folder: Path) -> None:
        """Write model and optimizer state; called on all ranks with the same folder."""
        ...

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote."""
        ...


def learning_rate_factor(step: int, *, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then cosine decay to a thousandth, as a factor of the peak."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.001 + 0.999 * 0.5 * (1.0 + math.cos(math.pi * progress))


def open_engine(model: nn.Module, config: TrainingStageConfig, *, backend: str) -> Engine:
    """Put `model` under the engine named by the plan: "deepspeed" or "gloo"."""
    optimizer = make_optimizer(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(step, steps=config.steps, warmup_share=config.optimizer.warmup_share),
    )
    if backend == "deepspeed":
        return DeepSpeedEngine(model, optimizer, schedule, config)
    return GlooEngine(model, optimizer, schedule, config)


class DeepSpeedEngine:
    """ZeRO over the ranks; optimizer state is sharded."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, config: TrainingStageConfig
    ) -> None:
        import deepspeed

        settings = {
            "train_micro_batch_size_per_gpu": 1,  # batches are counted in words, so this is nominal
            "gradient_accumulation_steps": 1,
            "gradient_clipping": config.optimizer.gradient_clipping,
            # Stage 1 on CPU ranks flattens the gradients once, for the message. The contiguous buffer would be two more
            # copies of all of them, through a fresh allocation of two gigabytes a step, to prevent a fragmentation
            # that only an accelerator's memory knows.
            "zero_optimization": {
                "stage": config.launch.zero_stage,
                "contiguous_gradients": config.launch.zero_stage > 1 or config.launch.accelerator != "cpu",
            },
            "zero_allow_untested_optimizer": True,  # torch's AdamW: no C++ op to compile
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 10**9,
        }
        engine, _, _, _ = deepspeed.initialize(
            model=model, optimizer=optimizer, lr_scheduler=schedule, config=settings, dist_init_required=False
        )
        self._engine = engine
        self.module: nn.Module = engine.module

    def step(self, loss: Tensor) -> None:
        """Differentiate, average, clip, update."""
        self._engine.backward(loss)
        self._engine.step()

    def save(self, folder: Path) -> None:
        """Write one shard of optimizer state per rank, and the model."""
        self._engine.save_checkpoint(str(folder), tag="state", save_latest=False)

    def load(self, folder: Path) -> None:
        """Read the shards back."""
        found, _ = self._engine.load_checkpoint(str(folder), tag="state")
        assert found is not None, f"{folder} holds no DeepSpeed checkpoint"


class GlooEngine:
    """Every rank holds everything; gradients are averaged in one message."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, config: TrainingStageConfig
    ) -> None:
        self.module = model
        self._optimizer, self._schedule = optimizer, schedule
        self._clipping = config.optimizer.gradient_clipping
        for value in model.state_dict().values():
            dist.broadcast(value, src=0)

    def step(self, loss: Tensor) -> None:
        """Differentiate, average, clip, update."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [value for value in self.module.parameters() if value.requires_grad]
        if dist.get_world_size() > 1:
            flat = torch.cat([_gradient(value).reshape(-1) for value in parameters])
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
            offset = 0
            for value in parameters:
                value.grad = flat[offset : offset + value.numel()].view_as(value)
                offset += value.numel()
        nn.utils.clip_grad_norm_(parameters, self._clipping)
        self._optimizer.step()
        self._schedule.step()

    def save(self, folder: Path) -> None:
        """Rank 0 writes; the others hold the same."""
        if dist.get_rank() == 0:
            state = {
                "model": self.module.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._schedule.state_dict(),
            }
            torch.save(state, folder / _GLOO_STATE)

    def load(self, folder: Path) -> None:
        """Read back on every rank."""
        state = torch.load(folder / _GLOO_STATE, weights_only=True)
        self.module.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def join_ranks(*, backend: str) -> tuple[int, int]:
    """Join the process group described by RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT; return rank and world size."""
    if backend == "deepspeed":
        import deepspeed
        import deepspeed.ops

        # Its shared-memory all-reduce is compiled on first use, under a lock that a killed run leaves behind; half a
        # minute and a risk, to save milliseconds on a model of this size. Gloo does the same.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        on_gpu = deepspeed.get_accelerator().device_name() == "cuda"
        deepspeed.init_distributed(dist_backend="nccl" if on_gpu else "gloo", verbose=False)
    else:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), int(os.environ.get("WORLD_SIZE", "1"))


def _gradient(value: Tensor) -> Tensor:
    return value.grad if value.grad is not None else torch.zeros_like(value)
