"""Who pre-annotates a release: the champion of the day, fixed for as long as the release exists.

Belongs here: that choice, for CLI and Dagster alike. Pre-annotating is `stage`; the label rules, which step in while
there is no champion, are `evaluation.baseline`.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from sap_llm.evaluation.predictor import BASELINE_ANNOTATOR, Prediction, Predictor
from sap_llm.schema.manifest import Manifest
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from sap_llm.registry.mlflow_registry import ModelRegistry

_PREFIX = "model:"


class RegisteredPredictor:
    """A registered model, loaded when it is first asked: a release that is reused loads nothing."""

    def __init__(self, registry: "ModelRegistry", version: str) -> None:
        self._registry, self._version = registry, version

    def predict_many(self, documents: Sequence[Sequence[Page]]) -> Sequence[Prediction]:
        """One prediction per document, in order."""
        return self._loaded.predict_many(documents)

    @cached_property
    def _loaded(self) -> Predictor:
        from sap_llm.modeling.runtimes import load_predictor

        return load_predictor(self._registry.folder_of(self._version))


def choose(registry: "ModelRegistry", previous: Manifest | None) -> tuple[Predictor | None, str]:
    """Predictor and version for `build_annotated_docs`; (None, "") where the label rules pre-annotate.

    Args:
        registry: Names the champion.
        previous: Manifest of the release's present `annotated_docs`. The release keeps its annotator, so that promoting
            a model does not make all that it came from look out of date; a new release takes the new champion.
    """
    if previous is not None:
        annotator = str(previous.metrics["annotator"])
    else:
        champion = registry.champion()
        annotator = BASELINE_ANNOTATOR if champion is None else f"{_PREFIX}{champion.version}"
    if annotator == BASELINE_ANNOTATOR:
        return None, ""
    version = annotator.removeprefix(_PREFIX)
    return RegisteredPredictor(registry, version), version
