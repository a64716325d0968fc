"""The present champion on a challenger's frozen test documents, so that the two can be compared.

Belongs here: evaluating an older model on a newer test version. What is measured is `evaluation.stage`, who wins is
`promotion`.
"""

from typing import TYPE_CHECKING

from sap_llm.schema.errors import DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset

if TYPE_CHECKING:
    from sap_llm.registry.mlflow_registry import Champion


def evaluate_champion(context: StageContext, champion: "Champion", *, evaluation: Dataset) -> Dataset:
    """Measure the champion with the configuration and on the test documents of the challenger's evaluation.

    Args:
        context: Store, clock and progress.
        champion: The version that serves.
        evaluation: `model_evaluation/<release>` of the challenger.

    Returns:
        The dataset `model_evaluation/<release>/champion-<version>`; made once, then reused.

    Raises:
        DatasetNotFoundError: The champion's model or the training set is no longer in the store.
    """
    from sap_llm.evaluation.stage import ModelEvaluationConfig, build_model_evaluation
    from sap_llm.modeling.runtimes import load_predictor

    manifest = evaluation.manifest
    training_set = next((ref for ref in manifest.inputs.values() if ref.name.startswith("training_set/")), None)
    if training_set is None:
        raise DatasetNotFoundError("the evaluation names no training set", where=str(manifest.ref))
    release = manifest.name.partition("/")[2]
    context.progress(f"evaluating champion version {champion.version} on the test documents of {release}")
    return build_model_evaluation(
        context,
        config=ModelEvaluationConfig.model_validate(manifest.configuration),
        model=DatasetRef.parse(champion.model),
        training_set=training_set,
        release=f"{release}/champion-{champion.version}",
        load_predictor=load_predictor,
    ).dataset
