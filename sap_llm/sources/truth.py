"""What a source says about a document, before it is known where that stands on the page.

Belongs here: the plain record that every reader fills and `alignment` turns into annotation fields.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Values by taxonomy field name, as the source spells them.

    Attributes:
        document_type: Taxonomy class.
        header: One value a field.
        lines: One mapping a line item, in order.
        source: xml | export | human: who vouches for it.
        document_subtype: Taxonomy subtype.
    """

    document_type: str
    header: dict[str, str] = field(default_factory=dict)
    lines: tuple[dict[str, str], ...] = ()
    source: str = "human"
    document_subtype: str | None = None
