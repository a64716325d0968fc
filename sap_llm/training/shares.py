"""How the batch of one optimizer step is shared: pieces, so many a rank, one after the other.

Belongs here: the arithmetic that keeps the effective batch equal on any number of ranks and after a retry with less
memory. What a piece holds is the stage's business; averaging over the pieces is `engine`.
"""

import math
from dataclasses import dataclass

from sap_llm.schema.errors import ConfigurationError


@dataclass(frozen=True)
class Shares:
    """A batch of `effective` units (words, documents or sequences) in equal pieces.

    Attributes:
        effective: Units of one optimizer step, all ranks together.
        ranks: Ranks that share them.
        accumulation: Pieces that every rank works on in turn before weights are updated.
    """

    effective: int
    ranks: int
    accumulation: int

    @property
    def pieces(self) -> int:
        """Pieces of one optimizer step, all ranks together."""
        return self.ranks * self.accumulation

    @property
    def micro_batch(self) -> int:
        """Units of one piece."""
        return self.effective // self.pieces

    def of_rank(self, rank: int) -> range:
        """Numbers of a rank's pieces; piece 0 is the same data whoever works on it."""
        return range(rank * self.accumulation, (rank + 1) * self.accumulation)


def share(effective: int, *, ranks: int, micro_batch: int = 0, halvings: int = 0) -> Shares:
    """The fewest equal pieces of a batch that `ranks` can share and that are no larger than `micro_batch`.

    Args:
        effective: Units of one optimizer step.
        ranks: Number of ranks.
        micro_batch: Most units of a piece; 0 for a rank's whole share.
        halvings: How often memory was too small; each doubles the pieces.

    Raises:
        ConfigurationError: The batch cannot be shared evenly, or pieces would be smaller than one unit.
    """
    if effective % ranks:
        raise ConfigurationError(
            f"a batch of {effective:,} cannot be shared by {ranks} ranks evenly",
            where="launch.ranks",
            remedy=f"Take a batch that is a multiple of {ranks}, or other ranks; uneven shares weigh data unequally.",
        )
    a_rank = effective // ranks
    most = micro_batch or a_rank
    # the fewest pieces that divide a rank's share
    base = next(count for count in range(math.ceil(a_rank / most), a_rank + 1) if a_rank % count == 0)
    accumulation = base * 2**halvings
    if accumulation > a_rank:
        raise ConfigurationError(
            f"a rank's share of {a_rank:,} is in {base} pieces already and cannot be halved {halvings} times",
            where="launch.micro_batch",
            remedy="Use more ranks, a higher zero_stage, activation_checkpointing or offloading.",
        )
    return Shares(effective=effective, ranks=ranks, accumulation=accumulation)
