"""Which documents a canary gets and which of each arm people review wholly, by hash, so that both stay decided.

Belongs here: the shares of documents. When a canary's weight changes is decided from what its arm shows
(`learning.sequential`); sending a request to a model is the service's.
"""

from enum import StrEnum

from sap_llm.annotation.selection import chance
from sap_llm.schema.errors import ConfigurationError


class ArmName(StrEnum):
    """The two arms of an A/B."""

    CHAMPION = "champion"
    CANARY = "canary"


def arm_of(document_id: str, *, canary_weight: float, seed: int) -> ArmName:
    """The document's arm; a greater weight only ever moves documents into the canary.

    Args:
        document_id: The same for every try of the document, such as its sha256.
        canary_weight: Share of documents that the canary gets, 0 to 1.
        seed: One for each A/B, so that not the same documents meet every canary.

    Raises:
        ConfigurationError: The weight is no share.
    """
    _require_share(canary_weight, "canary weight")
    is_canary = chance(document_id, seed=seed, purpose="arm") < canary_weight
    return ArmName.CANARY if is_canary else ArmName.CHAMPION


def is_fully_reviewed(document_id: str, *, share: float = 0.02, seed: int) -> bool:
    """Whether people review the whole document, whatever its confidence and its arm.

    Raises:
        ConfigurationError: The share is none.
    """
    _require_share(share, "share of fully reviewed documents")
    return chance(document_id, seed=seed, purpose="full review") < share


def _require_share(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise ConfigurationError(f"{name} {value:g} is no share", where="A/B", remedy="Give a number from 0 to 1.")
