"""The gates of the pipeline by name, and the door that whoever consumes a gated dataset has to pass.

Belongs here: which gates a dataset has and `require_gates`. How a gate judges is `learning.judges`; where verdicts are
kept is `registry.verdicts`.
"""

from types import MappingProxyType
from typing import TYPE_CHECKING

from sap_llm.storage.store import Dataset

if TYPE_CHECKING:
    from sap_llm.registry.verdicts import Override, VerdictStore

ANNOTATOR_AGREEMENT = "annotator_agreement"
SCHEMA, IDENTITY, CLASSES, RANGES, MONEY, GEOMETRY, DATES, SPLITS_DISJOINT = SUITE = (
    "schema",
    "identity",
    "classes",
    "ranges",
    "money",
    "geometry",
    "dates",
    "splits_disjoint",
)
"""The groups of expectations; each group is a gate with a verdict of its own."""

MODEL_QUALITY = "model_quality"
VARIANT_QUALITY = "variant_quality"

GATES = MappingProxyType(
    {
        "human_annotations": (ANNOTATOR_AGREEMENT,),
        "annotated_docs": (SCHEMA, IDENTITY, CLASSES, RANGES, MONEY, GEOMETRY, DATES),
        "corpus_release": (SCHEMA, IDENTITY, CLASSES),
        "training_set": (SCHEMA, IDENTITY, CLASSES, RANGES, SPLITS_DISJOINT),
        "model_evaluation": (MODEL_QUALITY,),
        "quantized_models": (VARIANT_QUALITY,),
    }
)
"""Gates by asset: each leaves a verdict for every data version that it judged."""

OPTIONAL = frozenset({VARIANT_QUALITY})
"""Gates of things that a release can do without: a refused variant stays visible and is not served."""


def gates_of(name: str) -> tuple[str, ...]:
    """The gates of a dataset name (`training_set/r1`); empty where there is none."""
    return GATES.get(name.partition("/")[0], ())


def require_gates(verdicts: "VerdictStore", dataset: Dataset, *, consumer: str) -> dict[str, "Override"]:
    """Refuse unless every gate of exactly this data version was passed, or is overridden.

    Returns:
        The overrides that were used, by gate; empty where every gate is open.

    Raises:
        GateClosedError: Names the gate, what was measured and required, how to open and how to override it.
    """
    used = verdicts.require(dataset.manifest.data_version, gates_of(dataset.ref.name), consumer=consumer)
    return {gate: override for gate, override in used.items() if override is not None}


def last_overrides(verdicts: "VerdictStore", dataset: Dataset) -> list["Override"]:
    """The last override of each gate that this data version did not pass; those that ended are among them."""
    version = dataset.manifest.data_version
    found = []
    for gate in gates_of(dataset.ref.name):
        verdict = verdicts.find(version, gate)
        if verdict is None or not verdict.passed:
            found += verdicts.overrides(version, gate)[-1:]
    return found
