"""Drift of a dataset's documents against those that the champion, or an earlier release, was trained on.

Belongs here: which documents are compared with which, and the report for a person. The measures are `evaluation.drift`;
nothing here stops anybody: drift is a reason to look, to annotate or to train, not a fault of the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.evaluation.drift import CATEGORIES, NUMBERS, DriftSettings, FeatureDrift, false_alarms, measure_drift
from sap_llm.preparation.splits import TRAIN
from sap_llm.schema import markdown
from sap_llm.schema.errors import DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import Dataset, DatasetStore

if TYPE_CHECKING:
    from sap_llm.registry.mlflow_registry import ModelRegistry

TRAINING_SET = "training_set"
_SPLIT = "split"


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What a comparison found."""

    reference: DatasetRef
    features: Sequence[FeatureDrift]
    false_alarms: int
    resamples: int

    @property
    def alarms(self) -> list[FeatureDrift]:
        """Features that moved more than chance explains and more than is tolerated, the farthest first."""
        return sorted((entry for entry in self.features if entry.is_alarm), key=lambda entry: -entry.psi)

    @property
    def explanation(self) -> str:
        """One sentence for a person."""
        moved = ", ".join(
            f"{entry.name} ({entry.reference} -> {entry.new}, PSI {entry.psi:.2f})" for entry in self.alarms
        )
        found = f"moved against {self.reference}: {moved}" if moved else f"nothing moved against {self.reference}"
        return f"{found}; false alarms on {self.false_alarms} of {self.resamples} halvings of the same documents"


def compare(new: Dataset, reference: Dataset, settings: DriftSettings, *, seed: int) -> DriftReport:
    """Compare the documents of two datasets; where a dataset has splits, those that train.

    Args:
        new: `training_set/<release>` or another dataset with a table `documents` of such columns.
        reference: The same, of an earlier release.
        settings: Level and the sizes that matter.
        seed: Of the resamples on which false alarms are counted.
    """
    one, other = _documents(reference), _documents(new)
    return DriftReport(
        reference=reference.ref,
        features=measure_drift(one, other, settings),
        false_alarms=false_alarms(one, settings, seed=seed),
        resamples=settings.resamples,
    )


def champions_training_set(store: DatasetStore, registry: "ModelRegistry") -> DatasetRef | None:
    """The training set that the champion learned from; None without a champion, or where its model is gone."""
    try:
        champion = registry.champion()
        model = None if champion is None else store.open(DatasetRef.parse(champion.model))
    except DatasetNotFoundError:
        return None
    inputs = () if model is None else model.manifest.inputs.values()
    return next((ref for ref in inputs if ref.name.partition("/")[0] == TRAINING_SET and store.find(ref)), None)


def table(report: DriftReport) -> str:
    """All features as a Markdown table."""
    rows = [
        (
            *(entry.name, entry.reference, entry.new),
            *(f"{entry.psi:.3f}", f"{entry.distance:.3f}", f"{entry.p_value:.2g}", "**yes**" if entry.is_alarm else ""),
        )
        for entry in report.features
    ]
    return markdown.table(("feature", "reference", "new", "PSI", "distance", "p", "alarm"), rows)


def _documents(dataset: Dataset) -> pa.Table:
    known = set(dataset.scan("documents").schema.names)
    columns = [name for name in (*CATEGORIES, *NUMBERS, _SPLIT) if name in known]
    documents = dataset.table("documents", columns=columns)
    return documents.filter(pc.equal(documents.column(_SPLIT), TRAIN)) if _SPLIT in known else documents
