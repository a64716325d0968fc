"""How much memory a rank needs, before anything is launched, and what would help where it does not fit.

Belongs here: the calculation from a network's numbers and a launch configuration to a table, and the refusal with its
figures. Counting a network is `networks`; what a step sends over the wires is `scaling`.

Sources: sharding by Rajbhandari et al. 2020 (arXiv:1910.02054); activations by Korthikanti et al. 2022
(arXiv:2205.05198). The error against a measured run is in docs/scaling.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.config import LaunchConfig
from sap_llm.training.networks import Network
from sap_llm.training.shares import Shares, share

GIB = 2**30
CONTEXT_BYTES = 1.0 * GIB  # CUDA context, cuBLAS workspaces and NCCL's channels; an assumption
RESERVE_SHARE = 0.05  # of the card, for what the allocator cannot use between its blocks; an assumption
_WEIGHT_BYTES = {"fp32": 4, "mixed": 2, "bf16": 2}
_STATE_BYTES = {"fp32": 8, "mixed": 8, "bf16": 4}  # AdamW's two moments
_MASTER_BYTES = {"fp32": 4, "mixed": 4, "bf16": 2}  # the partition that ZeRO updates
# In the loss: logits in bf16, and in fp32 themselves, their log-softmax and its gradient at the same time.
_LOGIT_BYTES = 2 + 4 + 4 + 4
# A loss in chunks makes its gradient at once: step by step in fp32 where it is not compiled.
_CHUNK_BYTES = 2 + 4 * 4 + 2
_COMPILED_SHARE = 0.68  # of a block's activations that a compiled one keeps; from peaks of `benchmarks.gpu_packed`
Keep = Literal["all", "matmuls", "nothing"]
_KEEPS: tuple[Keep, ...] = ("all", "matmuls", "nothing")


class OutOfMemoryPlanError(ConfigurationError):
    """A launch that cannot fit, with the numbers."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one rank works on at a time.

    Attributes:
        network: What is trained.
        tokens: Tokens (words) of one piece, padding included.
        longest: Tokens that attend to each other.
        unit: What `tokens` are called.
        batch_unit: What the stage counts its batch in, where that is something else.
        keep: Of a block's activations, where the stage has a key `keep` of its own instead of
            `launch.activation_checkpointing`.
        is_compiled: Blocks are compiled and keep less.
        loss_tokens: Tokens whose logits exist at a time; 0 for all of the piece.
        piece_key: Key of the configuration that says how large a piece is.
    """

    network: Network
    tokens: int
    longest: int
    unit: str = "tokens"
    batch_unit: str = ""
    keep: Keep | None = None
    is_compiled: bool = False
    loss_tokens: int = 0
    piece_key: str = "launch.micro_batch"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: bytes of the device, and of the host for this rank, and the moments they are there."""

    what: str
    device_bytes: float = 0.0
    host_bytes: float = 0.0
    in_loss: bool = True
    in_backward: bool = True
    in_update: bool = True


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Need of one rank."""

    workload: Workload
    launch: LaunchConfig
    rows: tuple[Row, ...]

    @property
    def moments(self) -> dict[str, float]:
        """Bytes on the device at the moments when memory peaks."""
        return {
            "in the loss": sum(row.device_bytes for row in self.rows if row.in_loss),
            "at the end of the backward pass": sum(row.device_bytes for row in self.rows if row.in_backward),
            "in the update": sum(row.device_bytes for row in self.rows if row.in_update),
        }

    @property
    def peak(self) -> float:
        """Bytes on the device at the worst moment, without reserve."""
        return max(self.moments.values())

    @property
    def host(self) -> float:
        """Bytes of the host's memory for this rank."""
        return sum(row.host_bytes for row in self.rows)

    def fits(self, card_bytes: float) -> bool:
        """Whether the peak leaves the allocator its reserve."""
        return self.peak + RESERVE_SHARE * card_bytes <= card_bytes

    def table(self, card_bytes: float | None = None) -> str:
        """The rows, the moments and what is left of a card, as text."""
        network = self.workload.network
        piece = f"{self.workload.tokens:,} {self.workload.unit} at a time"
        lines = [f"{network.name}: {network.parameters:,} parameters, {piece}"]
        lines += [f"  {'one rank needs':<44} {'device':>12} {'host':>12}"]
        lines += [f"  {row.what:<44} {_gib(row.device_bytes)} {_gib(row.host_bytes)}" for row in self.rows]
        lines += [f"  {moment:<44} {_gib(size)}" for moment, size in self.moments.items()]
        if card_bytes is not None:
            reserve = RESERVE_SHARE * card_bytes
            card = f"left of a card of {_gib(card_bytes).strip()}"
            lines += [f"  {'reserve for fragmentation':<44} {_gib(reserve)}"]
            lines += [f"  {card:<44} {_gib(card_bytes - self.peak - reserve)}"]
        return "\n".join(lines)


def plan_memory(workload: Workload, launch: LaunchConfig, *, is_sharded: bool, accumulation: int = 1) -> MemoryPlan:
    """What one of `launch.ranks` ranks needs.

    Args:
        workload: Network and size of a piece.
        launch: Types, sharding, offloading.
        is_sharded: DeepSpeed runs; torch.distributed shards nothing.
        accumulation: Pieces before an update; with more than one, gradients are there in the loss too.
    """
    states = _state_rows(workload.network, launch, is_sharded=is_sharded, accumulation=accumulation)
    activations = _activation_rows(workload, launch)
    context = Row(what="CUDA context, workspaces", device_bytes=CONTEXT_BYTES if launch.accelerator == "cuda" else 0.0)
    return MemoryPlan(workload=workload, launch=launch, rows=(*states, *activations, context))


def require_memory(plan: MemoryPlan, *, card_bytes: float, shares: Shares, is_sharded: bool) -> None:
    """Refuse what cannot fit, with the table and what would fit.

    Raises:
        OutOfMemoryPlanError: A rank needs more than a card has.
    """
    if plan.fits(card_bytes):
        return
    helps = [
        f"{change}: {other.peak / GIB:,.1f} GiB"
        + (f" and {other.host / GIB:,.1f} GiB of the host" if other.host > plan.host else "")
        + (", which fits" if other.fits(card_bytes) else "")
        for change, other in _remedies(plan, shares, is_sharded=is_sharded)
    ]
    raise OutOfMemoryPlanError(
        f"a rank needs {plan.peak / GIB:,.1f} GiB and a reserve of {RESERVE_SHARE * card_bytes / GIB:,.1f} GiB, and a "
        f"card has {card_bytes / GIB:,.1f} GiB\n{plan.table(card_bytes)}",
        where="launch",
        remedy="Need after a change:\n  " + "\n  ".join(helps) if helps else "Use a smaller model or larger cards.",
    )


def _state_rows(network: Network, launch: LaunchConfig, *, is_sharded: bool, accumulation: int) -> Iterator[Row]:
    stage = launch.zero_stage if is_sharded else 0
    ranks = launch.ranks
    weight, state, master = (sizes[launch.weights] for sizes in (_WEIGHT_BYTES, _STATE_BYTES, _MASTER_BYTES))

    def shared_from(first: int) -> str:
        return f" / {ranks}" if stage >= first and ranks > 1 else ""

    def part(first: int) -> float:
        return 1 / ranks if stage >= first else 1.0

    whole, trained = network.parameters, network.trainable
    frozen = weight if network.frozen_bytes is None else network.frozen_bytes
    held = trained * weight + (whole - trained) * frozen
    yield _placed(f"weights, {frozen:.3g} bytes{shared_from(3)}", held * part(3), launch.offload_weights)
    yield replace(
        _placed(f"gradients, {weight} bytes{shared_from(2)}", trained * weight * part(2), launch.offload_optimizer),
        in_loss=accumulation > 1 or stage == 3,  # stage 3 keeps their buffer
    )
    yield _placed(
        f"AdamW's moments, {state} bytes{shared_from(1)}", trained * state * part(1), launch.offload_optimizer
    )
    if stage:
        yield _placed(
            f"weights to be updated, {master} bytes{shared_from(1)}",
            trained * master * part(1),
            launch.offload_optimizer,
        )
    if launch.weights == "fp32" and launch.precision == "bf16":
        copied = whole if frozen == weight else trained
        yield Row(what="bf16 copies of autocast", device_bytes=2.0 * copied, in_update=False)
    if ranks > 1:
        yield from _message_rows(network, launch, stage=stage, weight=weight)


def _placed(what: str, size: float, place: str) -> Row:
    """On the device, or in the host's memory (or its disk, which is not counted)."""
    if place == "none":
        return Row(what=what, device_bytes=size)
    return Row(what=f"{what}, on {place}", host_bytes=size if place == "cpu" else 0.0)


def _message_rows(network: Network, launch: LaunchConfig, *, stage: int, weight: int) -> Iterator[Row]:
    bucket = min(launch.bucket_elements, network.trainable)
    sent = {"fp32": 4, "bf16": 2, "": weight}[launch.communication]
    if stage == 0:
        yield Row(what="all gradients in one message", device_bytes=network.trainable * weight, in_loss=False)
        return
    copies = 2 if stage > 1 or launch.accelerator == "cuda" else 1  # one is filled while the other is sent
    yield Row(what="bucket of gradients", device_bytes=copies * bucket * sent, in_loss=False, in_update=False)
    if stage == 3:
        live = min(network.parameters, max(2 * launch.bucket_elements, network.largest_layer))
        yield Row(what="gathered weights", device_bytes=live * weight, in_update=False)
    else:
        gathered = min(launch.bucket_elements, network.parameters)
        yield Row(what="bucket of weights", device_bytes=gathered * weight, in_loss=False, in_backward=False)


def _activation_rows(workload: Workload, launch: LaunchConfig) -> Iterator[Row]:
    for stack in workload.network.stacks:
        positions = stack.positions * workload.tokens
        if not positions:
            continue
        # a window of vision attends within itself, and fused attention keeps no scores
        block = positions * (stack.kept_bytes + stack.score_bytes * workload.longest)
        block *= _COMPILED_SHARE if workload.is_compiled else 1.0
        keep = workload.keep or ("nothing" if launch.activation_checkpointing else "all")
        if keep != "all":
            products = stack.product_bytes if keep == "matmuls" else 0.0
            held = positions * (stack.input_bytes + products) * stack.blocks
            name = f"{'inputs and products' if products else 'inputs'} of {stack.blocks} {stack.name} blocks"
            yield Row(what=name, device_bytes=held, in_backward=not products, in_update=False)
            yield Row(
                what=f"one {stack.name} block, computed again", device_bytes=block, in_loss=False, in_update=False
            )
        else:
            kept = block * stack.blocks
            yield Row(
                what=f"activations of {stack.blocks} {stack.name} blocks",
                device_bytes=kept,
                in_backward=False,
                in_update=False,
            )
    each = _CHUNK_BYTES if workload.loss_tokens and not workload.is_compiled else _LOGIT_BYTES
    logits = each * (workload.loss_tokens or workload.tokens) * workload.network.logits
    yield Row(what="logits and their loss", device_bytes=logits, in_backward=False, in_update=False)


def _remedies(plan: MemoryPlan, shares: Shares, *, is_sharded: bool) -> Iterator[tuple[str, MemoryPlan]]:
    """Changes one by one, and the need after each."""
    launch, workload = plan.launch, plan.workload
    half = share(shares.effective, ranks=shares.ranks, micro_batch=max(1, shares.micro_batch // 2))
    changes: dict[str, tuple[dict[str, object], Workload, int]] = {}
    if workload.keep is not None:
        for keep in _KEEPS[_KEEPS.index(workload.keep) + 1 :]:
            changes[f"keep: {keep}"] = {}, replace(workload, keep=keep), shares.accumulation
    elif not launch.activation_checkpointing:
        changes["launch.activation_checkpointing: true"] = (
            {"activation_checkpointing": True},
            workload,
            shares.accumulation,
        )
    if half.micro_batch < shares.micro_batch:
        smaller = replace(workload, tokens=max(1, workload.tokens * half.micro_batch // shares.micro_batch))
        changes[f"{workload.piece_key}: {half.micro_batch}"] = {}, smaller, half.accumulation
    if is_sharded and launch.zero_stage < 3 and launch.ranks > 1:
        changes["launch.zero_stage: 3"] = {"zero_stage": 3}, workload, shares.accumulation
    if is_sharded and launch.offload_optimizer == "none" and launch.weights != "bf16":
        offload = {"offload_optimizer": "cpu", "zero_stage": max(1, launch.zero_stage)}
        changes["launch.offload_optimizer: cpu"] = offload, workload, shares.accumulation
    if launch.weights != "bf16" and (not is_sharded or launch.offload_optimizer == "none"):
        changes["launch.weights: bf16"] = {"weights": "bf16"}, workload, shares.accumulation
    if is_sharded:
        changes[f"launch.ranks: {2 * launch.ranks}"] = {"ranks": 2 * launch.ranks}, workload, shares.accumulation
    for name, (update, changed, accumulation) in changes.items():
        other = launch.model_copy(update=update)
        yield name, plan_memory(changed, other, is_sharded=is_sharded, accumulation=accumulation)


def _gib(size: float) -> str:
    return f"{size / GIB:>8,.2f} GiB" if size else f"{'-':>12}"
