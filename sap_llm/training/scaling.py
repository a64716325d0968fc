"""What a step sends over the wires on more GPUs, on paper: volumes by ZeRO stage, and their time beside the compute.

Belongs here: the calculation from a network's numbers to bytes and seconds. Memory is `memory`. None of it is measured
but the tokens per second that the caller names; docs/scaling.md shows the result and says what is assumed.

Source of the volumes: Rajbhandari et al. 2020 (arXiv:1910.02054), section 7, with DeepSpeed's habits: stages 2 and 3
reduce the gradients of every piece, stages 0 and 1 those of the whole step.
"""

from dataclasses import dataclass

from sap_llm.training.networks import Network

NVLINK_BYTES_PER_SECOND = 450e9  # NVLink 4 of an H100: 900 GB/s, both directions together
NIC_BYTES_PER_SECOND = 50e9  # InfiniBand NDR: 400 Gb/s


@dataclass(frozen=True, kw_only=True)
class Wires:
    """The machines.

    Attributes:
        gpus_per_node: Within a node all GPUs speak over NVLink.
        nics_per_node: Network cards of 400 Gb/s; eight in a DGX H100.
    """

    gpus_per_node: int = 8
    nics_per_node: int = 8

    def bytes_per_second(self, ranks: int) -> float:
        """What every GPU of a ring over all ranks can send at once, at the ring's narrowest place."""
        if ranks <= self.gpus_per_node:
            return NVLINK_BYTES_PER_SECOND
        return min(NVLINK_BYTES_PER_SECOND, NIC_BYTES_PER_SECOND * self.nics_per_node)


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """One optimizer step of one GPU.

    Attributes:
        stage: Of ZeRO.
        ranks: GPUs.
        accumulation: Pieces a GPU.
        sent_bytes: By every GPU.
        message_seconds: For these at the wires' full speed, nothing overlapped.
        compute_seconds: For the GPU's tokens at the measured speed of one GPU.
    """

    stage: int
    ranks: int
    accumulation: int
    sent_bytes: float
    message_seconds: float
    compute_seconds: float

    @property
    def worst_efficiency(self) -> float:
        """Share of the time that computes if no message were overlapped with it."""
        return self.compute_seconds / (self.compute_seconds + self.message_seconds)


def sent_bytes(network: Network, *, stage: int, ranks: int, accumulation: int, weight_bytes: int = 2) -> float:
    """Bytes that every GPU sends in one optimizer step, by rings.

    A ring all-gather or reduce-scatter of V bytes sends V (ranks - 1) / ranks from each GPU; an all-reduce is both.
    """
    part = (ranks - 1) / ranks
    gradients, weights = network.trainable * weight_bytes * part, network.parameters * weight_bytes * part
    if stage == 0:
        return 2 * gradients
    updated = network.trainable * weight_bytes * part
    if stage == 1:
        return gradients + updated
    if stage == 2:
        return accumulation * gradients + updated
    # weights are gathered before the forward and again for the backward pass; the update needs no message
    return accumulation * (2 * weights + gradients)


def step_time(
    network: Network,
    *,
    stage: int,
    ranks: int,
    batch_tokens: int,
    piece_tokens: int,
    tokens_per_second: float,
    wires: Wires,
) -> StepTime:
    """Volumes and times of one optimizer step.

    Args:
        network: What is trained.
        stage: Of ZeRO.
        ranks: GPUs.
        batch_tokens: Of one optimizer step, all GPUs together.
        piece_tokens: That a GPU works on at a time.
        tokens_per_second: Of one GPU alone, measured.
        wires: Between the GPUs.
    """
    accumulation = max(1, batch_tokens // (ranks * piece_tokens))
    sent = sent_bytes(network, stage=stage, ranks=ranks, accumulation=accumulation)
    return StepTime(
        stage=stage,
        ranks=ranks,
        accumulation=accumulation,
        sent_bytes=sent,
        message_seconds=sent / wires.bytes_per_second(ranks),
        compute_seconds=batch_tokens / ranks / tokens_per_second,
    )
