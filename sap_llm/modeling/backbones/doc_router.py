"""Triage: class, size and difficulty of a document from cheap features, before a large model reads it.

Belongs here: the features, the model and its folder; it needs numpy alone and less than a millisecond. Fitting it, and
what makes a document difficult, is the stage `training.doc_router`; which model a document is sent to is the serving
router's decision.

The class is linear in hashed words. The difficulty is the chance that the small model's answer is not wholly right,
linear (logistic) in the figures of `FIGURES`: a person can read off the weights what makes it so.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from sap_llm.modeling.backbones.shapes import RouterShape
from sap_llm.modeling.confidence import softmax
from sap_llm.modeling.features import HAS_DIGITS, IS_AMOUNT, WordEncoder
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.page import Page

Floats = npt.NDArray[np.float32]
CONFIG, WEIGHTS = "router.json", "router.safetensors"
FIGURES = (
    "pages",
    "words",
    "table_rows",
    "table_share",
    "digit_share",
    "lowest_quality",
    "mean_quality",
    "is_recognised",
    "class_confidence",
    "class_entropy",
)
"""What the difficulty is computed from; `table_rows` are lines with two amounts or more among the words looked at."""
_AMOUNTS_OF_A_ROW = 2


@dataclass(frozen=True, kw_only=True)
class Triage:
    """What is known of a document before it is read by a model.

    Attributes:
        document_type: The likeliest class.
        type_confidence: Its chance, 0..1.
        pages: Of the document.
        words: Of the document.
        table_rows: Lines with two amounts or more, among the words looked at.
        quality: Of the worst page's reading, 0..1.
        difficulty: Chance that the small model's answer is not wholly right, 0..1.
    """

    document_type: str
    type_confidence: float
    pages: int
    words: int
    table_rows: int
    quality: float
    difficulty: float


@dataclass(frozen=True, kw_only=True)
class RouterWeights:
    """What is fitted; c classes, b buckets, f figures.

    Attributes:
        class_weights: float32 [b, c].
        class_bias: float32 [c].
        class_temperature: float32 [1].
        center: float32 [f], of the figures in fitting.
        spread: float32 [f].
        difficulty_weights: float32 [f], of centred figures.
        difficulty_bias: float32 [1].
    """

    class_weights: Floats
    class_bias: Floats
    class_temperature: Floats
    center: Floats
    spread: Floats
    difficulty_weights: Floats
    difficulty_bias: Floats


class DocRouter:
    """Triages documents."""

    def __init__(self, shape: RouterShape, classes: Sequence[str], weights: RouterWeights) -> None:
        self.shape, self.classes, self.weights = shape, tuple(classes), weights
        self._encoder = WordEncoder()

    def route(self, pages: Sequence[Page]) -> Triage:
        """Triage one document, given as its pages in order (at least one)."""
        figures, chances = self.figures(pages)
        chosen, known = int(chances.argmax()), dict(zip(FIGURES, figures.tolist(), strict=True))
        return Triage(
            document_type=self.classes[chosen],
            type_confidence=float(chances[chosen]),
            pages=int(known["pages"]),
            words=sum(len(page.words) for page in pages),
            table_rows=int(known["table_rows"]),
            quality=known["lowest_quality"],
            difficulty=self.difficulty(figures),
        )

    def figures(self, pages: Sequence[Page]) -> tuple[Floats, Floats]:
        """The figures float32 [f] in the order of `FIGURES`, and the chances of the classes float32 [c]."""
        words, lines = _first_words(pages, most=self.shape.words)
        _, hashes, shapes = self._encoder.encode(words)
        chances = self._classes(hashes[:, 0])
        per_line = np.bincount(np.array(lines, dtype=np.int64)[(shapes >> IS_AMOUNT) & 1 > 0])
        rows = int((per_line >= _AMOUNTS_OF_A_ROW).sum())
        qualities = [page.quality for page in pages]
        count = max(1, len(words))
        values = (
            len(pages),
            np.log1p(sum(len(page.words) for page in pages)),
            rows,
            rows / max(1, lines[-1] + 1 if lines else 1),
            int(((shapes >> HAS_DIGITS) & 1).sum()) / count,
            min(qualities),
            sum(qualities) / len(qualities),
            float(any(page.reader == "ocr" for page in pages)),
            chances.max(),
            -(chances * np.log(np.maximum(chances, 1e-9))).sum(),
        )
        return np.array(values, dtype=np.float32), chances

    def difficulty(self, figures: Floats) -> float:
        """The chance from the figures of a document."""
        own = self.weights
        score = own.difficulty_bias[0] + ((figures - own.center) / own.spread) @ own.difficulty_weights
        return float(1.0 / (1.0 + np.exp(-np.clip(score, -30.0, 30.0))))

    def _classes(self, hashes: npt.NDArray[np.uint16]) -> Floats:
        found = present(hashes, buckets=self.shape.buckets)
        logits = self.weights.class_weights[found].sum(axis=0) * weight_of(len(found)) + self.weights.class_bias
        return softmax(logits, temperature=float(self.weights.class_temperature[0]))

    def save(self, folder: Path) -> None:
        """Write the model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(value) for name, value in vars(self.weights).items()}, folder / WEIGHTS)
        told = {"shape": self.shape.model_dump(mode="json"), "classes": self.classes, "figures": FIGURES}
        (folder / CONFIG).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "DocRouter":
        """Open a model folder.

        Raises:
            ConfigurationError: It is none, or of a release with other figures.
        """
        try:
            told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigurationError("no router", where=str(folder), remedy="Build doc_router first.") from error
        if tuple(told["figures"]) != FIGURES:
            raise ConfigurationError("a router of another release", where=str(folder), remedy="Build it again.")
        return cls(
            RouterShape.model_validate(told["shape"]), told["classes"], RouterWeights(**load_file(folder / WEIGHTS))
        )


def parameters(shape: RouterShape, *, classes: int) -> int:
    """Numbers that are fitted."""
    return (shape.buckets + 1) * classes + 1 + len(FIGURES) + 1


def blank_weights(shape: RouterShape, *, classes: int) -> RouterWeights:
    """Weights that say nothing: all classes alike, difficulty even."""
    zeros = np.zeros(len(FIGURES), dtype=np.float32)
    return RouterWeights(
        class_weights=np.zeros((shape.buckets, classes), dtype=np.float32),
        class_bias=np.zeros(classes, dtype=np.float32),
        class_temperature=np.ones(1, dtype=np.float32),
        center=zeros,
        spread=zeros + 1,
        difficulty_weights=zeros,
        difficulty_bias=np.zeros(1, dtype=np.float32),
    )


def present(hashes: npt.NDArray[np.uint16], *, buckets: int) -> npt.NDArray[np.int64]:
    """The buckets of some words, each once: how often a word stands there says little about the class."""
    return np.unique(hashes % buckets).astype(np.int64)


def weight_of(count: int) -> float:
    """Weight of each of so many buckets: all documents are equally long vectors."""
    return 1.0 / math.sqrt(max(1, count))


def _first_words(pages: Sequence[Page], *, most: int) -> tuple[list[str], list[int]]:
    """The first words and the line of each, lines running on over pages."""
    words: list[str] = []
    lines: list[int] = []
    for page in pages:
        room = most - len(words)
        if room <= 0:
            break
        first = lines[-1] + 1 if lines else 0
        words += page.words[:room]
        lines += (page.lines[:room] + first).tolist()
    return words, lines
