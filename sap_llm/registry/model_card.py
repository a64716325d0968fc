"""A model card: what a model is for, what it learned from, what it reaches where, its limits, and how to make it again.

Belongs here: the card's form, from plain data, for a trained model and for a registered champion alike. The facts are
gathered by whoever has them (`training.model_report`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sap_llm.schema.markdown import table

MODEL_CARD = "model_card.md"


@dataclass(frozen=True, kw_only=True)
class DataRow:
    """Documents of one source that a model learned from or was tried on."""

    source: str
    role: str  # train | develop | test_only
    licence: str
    split: str
    documents: int


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """What a model reaches on a part of the documents."""

    view: str  # by what is sliced: class, language, field
    name: str
    support: int
    measure: str
    value: float


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that a card says; what is empty is left out.

    Attributes:
        name: Of the model.
        version: Dataset version or registered version.
        use: What it is for, and what not, in a few sentences.
        limits: One sentence each.
        inputs: Role -> exact version of everything that it was made from.
        data: By source, role, licence and split.
        measures: Headline numbers by name.
        slices: The same by part.
        training: Facts of the training: steps, seconds, device, cost.
        hyperparameters: Resolved configuration, nested keys joined with dots.
        hashes: File -> sha256 of the weights.
        reproduce: Commands or sentences, in order.
    """

    name: str
    version: str
    use: str
    limits: Sequence[str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    data: Sequence[DataRow] = ()
    measures: Mapping[str, object] = field(default_factory=dict)
    slices: Sequence[SliceRow] = ()
    training: Mapping[str, object] = field(default_factory=dict)
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    reproduce: Sequence[str] = ()


def render(card: ModelCard) -> str:
    """The card as Markdown."""
    sections = {
        "Use": card.use,
        "Limits": _list(card.limits),
        "Data": _data(card),
        "Measures": _pairs("Measure", card.measures),
        "Slices": _slices(card.slices),
        "Training": _pairs("Fact", card.training),
        "Reproduce": _list(card.reproduce),
        "Files": _pairs("File", card.hashes, value="sha256"),
        "Hyperparameters": _pairs("Key", card.hyperparameters),
    }
    parts = [f"# {card.name}", f"Version `{card.version}`."]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def _data(card: ModelCard) -> str:
    rows = [[row.source, row.role, row.licence, row.split, f"{row.documents:,}"] for row in card.data]
    parts = [table(["Source", "Role", "Licence", "Split", "Documents"], rows)] if rows else []
    parts += [_list(f"{role}: `{version}`" for role, version in card.inputs.items())] if card.inputs else []
    return "\n\n".join(parts)


def _slices(slices: Sequence[SliceRow]) -> str:
    rows = [[row.view, row.name, f"{row.support:,}", row.measure, f"{row.value:.4f}"] for row in slices]
    return table(["By", "Value", "Support", "Measure", "Reached"], rows) if rows else ""


def _pairs(name: str, values: Mapping[str, object], *, value: str = "Value") -> str:
    rows = [[f"`{key}`", _shown(entry)] for key, entry in values.items()]
    return table([name, value], rows) if rows else ""


def _list(entries: Iterable[str]) -> str:
    return "\n".join(f"- {entry}" for entry in entries)


def _shown(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
