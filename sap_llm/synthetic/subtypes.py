"""What sets the subtypes of purchase orders and supplier invoices apart, and how often each is made.

The reader of `data/subtypes.yaml`; which facts a subtype has is made elsewhere (`orders`, `procurement`).
"""

from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sap_llm.synthetic.pools import read_data


class SubtypeSpec(BaseModel):
    """One subtype."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = 0.0
    items: Literal["goods", "services", "rental", "text", "unnumbered", "group"] = "goods"
    sets: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    prices: Literal["lines", "none"] = "lines"
    seller: Literal["vendor", "plant", "affiliate", "abroad"] = "vendor"
    days: tuple[int, int] = (5, 45)
    invoice: str = ""
    type_code: str = ""


_PLAIN = SubtypeSpec()


@cache
def subtype_table() -> dict[str, dict[str, SubtypeSpec]]:
    """Class -> subtype -> what it is."""
    return {
        name: {subtype: SubtypeSpec.model_validate(values) for subtype, values in subtypes.items()}
        for name, subtypes in read_data("subtypes").items()
    }


def subtype_spec(document_type: str, subtype: str | None) -> SubtypeSpec:
    """What a subtype is; that of plain documents for classes without subtypes."""
    return subtype_table().get(document_type, {}).get(subtype or "", _PLAIN)


def subtype_weights(document_type: str) -> dict[str, float]:
    """Subtypes and how often each is made where the configuration does not say."""
    return {name: spec.weight for name, spec in subtype_table()[document_type].items()}
