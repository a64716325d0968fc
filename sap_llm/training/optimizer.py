"""Muon for the encoder blocks' matrices, AdamW for everything else, as one optimizer that ZeRO may partition.

Belongs here: what one update is, given averaged and clipped gradients. Averaging, clipping and sharding are `engine`.

DeepSpeed's own Muon is not used: it orthogonalises before it clips, so the clipping that belongs to gradients shrinks
its updates, whose norm is the root of the summed ranks, to `gradient_clipping`; and it keeps unclipped gradients in
the momentum. Here both engines clip first, and the same code updates.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; step size that matches AdamW's: Liu et al. 2025,
arXiv:2502.16982.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sap_llm.training.config import TrainingStageConfig

_MOMENTUM = 0.95
_BETAS = (0.9, 0.98)
# Jordan's quintic: steepest at zero, so that five iterations do; singular values end between 0.7 and 1.2
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_TINY = 1e-7
_ADAMW_SIZE = 0.2  # root mean square of a typical AdamW update (arXiv:2502.16982)


class _Piece(NamedTuple):
    """A matrix, and the part of its elements that is updated here."""

    matrix: Tensor  # [rows, columns], what is to be orthogonalised
    start: int
    target: Tensor  # the weights from element `start` on


def make_optimizer(model: nn.Module, config: TrainingStageConfig) -> torch.optim.Optimizer:
    """Muon for the matrices of the blocks, AdamW for the rest; AdamW alone where `muon_learning_rate` is 0."""
    settings = config.optimizer
    matrices: list[Tensor] = []
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, value in model.named_parameters():
        is_hidden = settings.muon_learning_rate > 0 and value.ndim == 2 and "blocks" in name.split(".")
        (matrices if is_hidden else decayed if value.ndim > 1 else others).append(value)
    adamw = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=_BETAS,
        fused=True,
    )
    if not matrices:
        return adamw
    return MuonWithAdamW(
        matrices,
        adamw,
        learning_rate=settings.muon_learning_rate,
        weight_decay=settings.weight_decay,
        compute=torch.bfloat16 if config.launch.precision == "bf16" else torch.float32,
    )


class MuonWithAdamW(torch.optim.Optimizer):
    """One group of matrices under Muon; the groups of `adamw` stay under it.

    ZeRO replaces the parameters of a group by one flat tensor: this rank's partition of all of them, one after the
    other. The group therefore remembers the shapes. Momentum goes by element and stays partitioned; a matrix is
    orthogonalised whole, by the ranks that hold a part of it.
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        adamw: torch.optim.AdamW,
        *,
        learning_rate: float,
        weight_decay: float,
        compute: torch.dtype = torch.bfloat16,
    ) -> None:
        self._adamw = adamw
        self._compute = compute
        muon = {
            "params": list(matrices),
            "lr": learning_rate,
            "weight_decay": weight_decay,
            "shapes": [tuple(value.shape) for value in matrices],  # also the mark of a Muon group
        }
        super().__init__([muon, *adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Update from the gradients. ZeRO calls it group by group, with only that group in `param_groups`."""
        assert closure is None, "a closure would need gradients that the engines have not averaged"
        for group in self.param_groups:
            if "shapes" in group:
                self._step_muon(group)
        rest = [group for group in self.param_groups if "shapes" not in group]
        if rest:
            self._adamw.param_groups, self._adamw.state = rest, self.state
            self._adamw.step()

    def _step_muon(self, group: dict[str, Any]) -> None:
        values: list[Tensor] = [value for value in group["params"] if value.grad is not None]
        if not values:
            return
        directions = [self._direction(value) for value in values]
        if values[0].ndim == 1:
            pieces = _pieces(values[0], directions[0].to(self._compute), group["shapes"])
        else:
            pieces = [_Piece(each, 0, value.view(-1)) for value, each in zip(values, directions, strict=True)]
        for value in values:
            value.mul_(1.0 - group["lr"] * group["weight_decay"])
        orthogonal = orthogonalised([piece.matrix for piece in pieces], compute=self._compute)
        for piece, matrix in zip(pieces, orthogonal, strict=True):
            size = _ADAMW_SIZE * math.sqrt(max(matrix.shape))
            update = matrix.reshape(-1)[piece.start : piece.start + len(piece.target)]
            piece.target.add_(update, alpha=-group["lr"] * size)

    def _direction(self, value: Tensor) -> Tensor:
        """Nesterov's look ahead, after the momentum took in the gradient."""
        assert value.grad is not None
        state = self.state[value]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(value)
        momentum: Tensor = state["momentum"].lerp_(value.grad, 1.0 - _MOMENTUM)
        return value.grad.lerp(momentum, _MOMENTUM)


def _pieces(partition: Tensor, direction: Tensor, shapes: Sequence[tuple[int, int]]) -> list[_Piece]:
    """What this rank's partition holds of every matrix; `direction` is the partition's part of all directions."""
    size, ranks = len(partition), dist.get_world_size()
    first = dist.get_rank() * size
    starts = [0]
    for rows, columns in shapes:
        starts.append(starts[-1] + rows * columns)
    borders = set(range(size, starts[-1], size))
    origin = first
    if not borders <= set(starts):  # some matrix lies on two ranks or more
        everything = direction.new_empty(ranks * size)
        dist.all_gather_into_tensor(everything, direction)
        direction, origin = everything, 0
    pieces = []
    for (rows, columns), start, stop in zip(shapes, starts, starts[1:], strict=False):
        mine = max(start, first), min(stop, first + size)
        if mine[0] < mine[1]:
            matrix = direction[start - origin : stop - origin].view(rows, columns)
            pieces.append(_Piece(matrix, mine[0] - start, partition[mine[0] - first : mine[1] - first]))
    return pieces


def orthogonalised(matrices: Sequence[Tensor], *, compute: torch.dtype) -> list[Tensor]:
    """Every matrix with all its singular values near 1, by Newton-Schulz iteration.

    Matrices of one shape, up to transposition, go through it together: twice as fast as one by one on a CPU.
    """
    wide = [matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    result: list[Tensor] = list(matrices)
    for shape in dict.fromkeys(matrix.shape for matrix in wide):
        places = [place for place, matrix in enumerate(wide) if matrix.shape == shape]
        stacked = _newton_schulz(torch.stack([wide[place].to(compute) for place in places]))
        for place, matrix in zip(places, stacked, strict=True):
            result[place] = matrix if wide[place] is matrices[place] else matrix.mT
    return result


def _newton_schulz(wide: Tensor) -> Tensor:
    """Iterate on [count, rows, columns] with no more rows than columns."""
    linear, cubic, quintic = _QUINTIC
    values = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=_TINY)
    for _ in range(_ITERATIONS):
        gram = values @ values.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic)
        values = torch.baddbmm(values, polynomial, values, beta=linear)
    return values
