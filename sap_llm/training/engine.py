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

from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.config import TrainingStageConfig
from sap_llm.training.deepspeed_settings import deepspeed_settings
from sap_llm.training.optimizer import make_optimizer

_GLOO_STATE = "state.pt"


class Engine(Protocol):
    """A model with its optimizer, spread over the ranks."""

    module: nn.Module

    @property
    def learning_rate(self) -> float:
        """Of AdamW, at the next step; Muon's follows the same schedule."""
        ...

    @property
    def gradient_norm(self) -> Tensor | float | None:
        """Of the last step, over all ranks and before clipping; None where the engine does not know it."""
        ...

    def step(self, loss: Tensor) -> None:
        """Differentiate; with a batch's last piece, average over pieces and ranks, clip, update, move the schedule.

        A batch has as many pieces as `open_engine` was told; each call is for one of them, and all weigh the same.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write model and optimizer state; called on all ranks with the same folder."""
        ...

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The whole model's state in fp32 on the CPU, also where ranks hold shards; called on all ranks."""
        ...


def learning_rate_factor(step: int, *, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then cosine decay to a thousandth, as a factor of the peak."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.001 + 0.999 * 0.5 * (1.0 + math.cos(math.pi * progress))


def open_engine(model: nn.Module, config: TrainingStageConfig, *, backend: str, accumulation: int = 1) -> Engine:
    """Put `model` under the engine named by the plan.

    Args:
        model: On the rank's device.
        config: Of the stage.
        backend: "deepspeed" or "gloo".
        accumulation: Pieces of every rank in one optimizer step (`shares`).

    Raises:
        ConfigurationError: ZeRO stage 3 with Muon, which needs whole matrices; or a network that cannot compute
            activations again.
    """
    if backend == "deepspeed" and config.launch.zero_stage == 3 and config.optimizer.muon_learning_rate > 0:
        raise ConfigurationError(
            "Muon updates whole matrices, and ZeRO stage 3 cuts them",
            where="launch.zero_stage",
            remedy="Set optimizer.muon_learning_rate to 0 for AdamW alone, or use zero_stage 2.",
        )
    if config.launch.activation_checkpointing:
        _checkpoint_activations(model)
    if backend != "deepspeed" and config.launch.weights == "bf16":
        model.to(torch.bfloat16)
    optimizer = make_optimizer(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(step, steps=config.steps, warmup_share=config.optimizer.warmup_share),
    )
    if backend == "deepspeed":
        return DeepSpeedEngine(model, optimizer, schedule, config, accumulation=accumulation)
    return GlooEngine(model, optimizer, schedule, config, accumulation=accumulation)


class DeepSpeedEngine:
    """ZeRO over the ranks: optimizer state, gradients and weights are sharded as configured."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        config: TrainingStageConfig,
        *,
        accumulation: int,
    ) -> None:
        import deepspeed

        engine, _, _, _ = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            lr_scheduler=schedule,
            config=deepspeed_settings(config, accumulation=accumulation),
            dist_init_required=False,
        )
        self._engine, self._schedule = engine, schedule
        # Not the module inside: only the engine's own call tells ZeRO that a new piece begins. Past it, stage 3 keeps
        # the gradients of a batch's last piece alone and finds no weight that is used outside of its own module.
        self.module: nn.Module = engine
        self._is_whole = config.launch.zero_stage < 3

    @property
    def learning_rate(self) -> float:
        """As the schedule says it."""
        return float(self._schedule.get_last_lr()[-1])

    @property
    def gradient_norm(self) -> Tensor | float | None:
        """As ZeRO computed it for clipping."""
        found: Tensor | float | None = self._engine.get_global_grad_norm()
        return found

    def step(self, loss: Tensor) -> None:
        """Differentiate; update with the last piece."""
        self._engine.backward(loss)
        self._engine.step()

    def save(self, folder: Path) -> None:
        """Write one shard of optimizer state per rank, and the model (stage 3: a shard of it per rank)."""
        self._engine.save_checkpoint(str(folder), tag="state", save_latest=False)

    def load(self, folder: Path) -> None:
        """Read the shards back."""
        found, _ = self._engine.load_checkpoint(str(folder), tag="state")
        assert found is not None, f"{folder} holds no DeepSpeed checkpoint"

    def weights(self) -> dict[str, Tensor]:
        """Gather one weight after the other, so that no device need hold all of them."""
        import deepspeed

        whole = {name: value for name, value in self._engine.module.state_dict().items() if value.numel()}
        if not self._is_whole:
            for name, value in self._engine.module.named_parameters(remove_duplicate=False):
                with deepspeed.zero.GatheredParameters([value]):
                    whole[name] = value.detach().clone()
        return {name: _kept(value) for name, value in whole.items()}


class GlooEngine:
    """Every rank holds everything; gradients are averaged in one message."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        config: TrainingStageConfig,
        *,
        accumulation: int,
    ) -> None:
        self.module = model
        self._optimizer, self._schedule = optimizer, schedule
        self._clipping = config.optimizer.gradient_clipping
        self._accumulation, self._piece = accumulation, 0
        self.gradient_norm: Tensor | None = None
        for value in model.state_dict().values():
            dist.broadcast(value, src=0)

    @property
    def learning_rate(self) -> float:
        """As the schedule says it."""
        return float(self._schedule.get_last_lr()[-1])

    def step(self, loss: Tensor) -> None:
        """Differentiate; update with the last piece."""
        if self._piece == 0:
            self._optimizer.zero_grad(set_to_none=True)
        (loss / self._accumulation).backward()
        self._piece = (self._piece + 1) % self._accumulation
        if self._piece == 0:
            self._update()

    def _update(self) -> None:
        parameters = [value for value in self.module.parameters() if value.requires_grad]
        if dist.get_world_size() > 1:
            flat = torch.cat([_gradient(value).reshape(-1) for value in parameters])
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
            offset = 0
            for value in parameters:
                value.grad = flat[offset : offset + value.numel()].view_as(value)
                offset += value.numel()
        self.gradient_norm = nn.utils.clip_grad_norm_(parameters, self._clipping)
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

    def weights(self) -> dict[str, Tensor]:
        """Every rank has them."""
        return {name: _kept(value) for name, value in self.module.state_dict().items()}


def is_broken(engine: Engine) -> bool:
    """Whether this rank knows of a weight that is no number.

    Under ZeRO stage 3 weights are not there to be looked at, but what breaks them is the last step's gradients.
    """
    norm = engine.gradient_norm
    if norm is not None and not math.isfinite(float(norm)):
        return True
    return not all(bool(torch.isfinite(value).all()) for value in engine.module.parameters())


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


def _checkpoint_activations(model: nn.Module) -> None:
    """By the model's own switch: transformers has a method, our encoders an attribute."""
    if hasattr(model, "gradient_checkpointing_enable"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return
    found = [module for module in model.modules() if hasattr(module, "checkpoints_activations")]
    if not found:
        raise ConfigurationError(
            f"{type(model).__name__} cannot compute activations again",
            where="launch.activation_checkpointing",
            remedy="Set it to false, or lower launch.micro_batch.",
        )
    for module in found:
        module.checkpoints_activations = True


def _kept(value: Tensor) -> Tensor:
    """A copy that later updates leave alone."""
    return value.detach().to("cpu", torch.float32, copy=True).contiguous()


def _gradient(value: Tensor) -> Tensor:
    return value.grad if value.grad is not None else torch.zeros_like(value)
