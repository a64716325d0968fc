"""The packed step of `gpu_packed` inside DeepSpeed's ZeRO-3 on one GPU, so that its overhead can be measured.

Belongs here: DeepSpeed's configuration for bf16 weights, gradients and optimizer states, and the step. The plain step
beside it is in `gpu_packed`.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

CONFIGURATION = {
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 1,
    "gradient_clipping": 1.0,
    "bf16": {"enabled": True, "bf16_master_weights_and_grads": True, "bf16_optimizer_states": True},
    "communication_data_type": "bf16",
    "zero_optimization": {"stage": 3, "overlap_comm": True, "contiguous_gradients": True},
    "zero_allow_untested_optimizer": True,
    "steps_per_print": 1_000_000,
}


class PackedLoss(torch.nn.Module):
    """The model with its loss inside, so that DeepSpeed sees every use of a parameter."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Any], labels: torch.Tensor, targets: int) -> torch.Tensor:
        """Share of the round's mean loss."""
        hidden = self.model.model(**inputs).last_hidden_state[0]
        logits = self.model.lm_head(hidden).float()
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum") / targets


def zero3_step(
    model: Any, micro_batches: int, targets: int, *, device: torch.device
) -> Callable[[Sequence[dict[str, Any]]], float]:
    """Hand the model to DeepSpeed, for good, and return the step over all micro-batches of a round."""
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29571")
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    deepspeed.init_distributed(dist_backend="nccl" if device.type == "cuda" else "gloo")
    for one in model.model.visual.parameters():  # the plain optimizer does not hold them either
        one.requires_grad_(requires_grad=False)
    wanted = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=1e-6, weight_decay=0.0, fused=device.type == "cuda")
    configuration = {**CONFIGURATION, "gradient_accumulation_steps": micro_batches}
    engine, *_ = deepspeed.initialize(model=PackedLoss(model), optimizer=optimizer, config=configuration)

    def step(prepared: Sequence[dict[str, Any]]) -> float:
        total = torch.zeros((), device=device)
        for batch in prepared:
            # DeepSpeed divides by the number of micro-batches; our divisor is that of the whole round already.
            loss = engine(batch["inputs"], batch["labels"], targets)
            engine.backward(loss * micro_batches)
            engine.step()
            total += loss.detach()
        return float(total)

    return step
