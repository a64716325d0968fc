"""The rows of the matrix: every size of every family and every use of it, and what was trained here.

Belongs here: naming candidates and matching trained models to them. Importable without torch.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.shapes import DonutShape, LayoutLMv3Shape, QwenReaderShape, RouterShape
from sap_llm.modeling.folder import read_config
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import DatasetStore

Use = Literal["reads", "writes", "triages"]
Shape = Annotated[
    EncoderConfig | LayoutLMv3Shape | QwenReaderShape | DonutShape | RouterShape, Field(discriminator="family")
]
_USES: Mapping[str, tuple[Use, ...]] = {
    "compact": ("reads",),
    "layoutlmv3": ("reads",),
    "qwen2_5_vl": ("reads", "writes"),
    "donut": ("writes",),
    "doc_router": ("triages",),
}
_SHAPES = (EncoderConfig, LayoutLMv3Shape, QwenReaderShape, DonutShape, RouterShape)
_BESIDE_THE_SHAPE = {"size", "dropout", "tokenizer", "pretrained"}


class Candidate(BaseModel):
    """One row: a shape in one use.

    Attributes:
        name: `family/size`, or `family/<version>` of a trained model whose shape has no name.
        use: reads: words to scores of fields; writes: a page's picture to an answer; triages: words to a class.
        evaluation: Version of `model_evaluation` that measured a checkpoint of this shape.
        quality: Its headline metrics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    use: Use
    shape: Shape
    evaluation: DatasetRef | None = None
    quality: Mapping[str, float] = {}

    @property
    def key(self) -> str:
        """Name and use."""
        return f"{self.name} {self.use}"


class Evaluated(BaseModel):
    """A model that was trained and evaluated here."""

    model_config = ConfigDict(frozen=True)

    evaluation: DatasetRef
    shape: Shape
    quality: Mapping[str, float]


QUALITY = ("class_accuracy", "field_f1", "line_item_f1")
"""Metrics of `model_evaluation` in the matrix, on its headline test."""


def all_candidates(evaluated: Sequence[Evaluated] = ()) -> list[Candidate]:
    """Every named size in every use, with the quality of a model that was trained in this shape, then other models."""
    rows: list[Candidate] = []
    taken: set[str] = set()
    for model in _SHAPES:
        for size in model.sizes:
            shape: Any = model(size=size)
            known = next((one for one in evaluated if _same(one.shape, shape)), None)
            for use in _USES[shape.family]:
                is_this = known is not None and use == "reads"  # what is evaluated are models that read words
                rows.append(
                    Candidate(
                        name=f"{shape.family}/{size}",
                        use=use,
                        shape=shape,
                        evaluation=known.evaluation if known and is_this else None,
                        quality=known.quality if known and is_this else {},
                    )
                )
            taken |= {known.evaluation.version} if known else set()
    others = [one for one in evaluated if one.evaluation.version not in taken]
    return rows + [
        Candidate(
            name=f"{one.shape.family}/{one.evaluation.version[:8]}",
            use="reads",
            shape=one.shape,
            evaluation=one.evaluation,
            quality=one.quality,
        )
        for one in others
    ]


def evaluations_of(store: DatasetStore, release: str, training_set: DatasetRef) -> list[DatasetRef]:
    """All versions of `model_evaluation/<release>` on this very training set, newest first, one a shape."""
    found = []
    name = f"model_evaluation/{release}"
    for ref in store.versions(name) if name in store.names() else []:
        manifest = store.open(ref).manifest
        if training_set in manifest.inputs.values():
            found.append((manifest.created_at, ref))
    newest: dict[str, DatasetRef] = {}
    for _, ref in sorted(found, key=lambda one: (one[0], one[1].version), reverse=True):
        shape = evaluated(store, ref).shape
        newest.setdefault(str(_essence(shape)), ref)
    return list(newest.values())


def evaluated(store: DatasetStore, ref: DatasetRef) -> Evaluated:
    """What an evaluation says about which shape."""
    manifest = store.open(ref).manifest
    model = next(one for role, one in manifest.inputs.items() if role.startswith("multitask_model/"))
    folder = store.open(model).path("model")
    shape = read_config(folder).backbone
    if getattr(shape, "tokenizer", None):
        shape = shape.model_copy(update={"tokenizer": str(folder / "tokenizer.json")})
    quality = {name: float(manifest.metrics[name]) for name in QUALITY if manifest.metrics.get(name) is not None}
    return Evaluated(evaluation=ref, shape=shape, quality=quality)


def _same(one: BaseModel, other: BaseModel) -> bool:
    return _essence(one) == _essence(other)


def _essence(shape: BaseModel) -> dict[str, Any]:
    return shape.model_dump(exclude=_BESIDE_THE_SHAPE)
