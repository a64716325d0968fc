"""The finished document model on validation documents: fields, classes, confusion, and pages with its boxes.

Belongs here: reading documents with the model as a user would, so that the report shows values and not word labels. The
measures and their tables are `evaluation`'s; the verdict on frozen test documents is made there too.
"""

from typing import Any

from sap_llm.evaluation.measures import Measures
from sap_llm.evaluation.report import Illustrator, sections_by_test
from sap_llm.evaluation.stage import MODEL, ModelEvaluationConfig, measure_tests, page_background, run_predictors
from sap_llm.evaluation.test_set import load_test_set
from sap_llm.registry.model_card import SliceRow
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetWriter
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.model_report import Description
from sap_llm.training.plan import TrainingPlan


def describe_on_validation(
    context: StageContext, plan: TrainingPlan[MultitaskModelConfig], writer: DatasetWriter
) -> Description:
    """Let the model in `writer` read at most the configured number of validation documents of each kind."""
    settings = plan.config.report
    if not settings.documents:
        return Description()
    from sap_llm.modeling.runtimes import load_predictor

    config = ModelEvaluationConfig(
        seed=plan.config.seed,
        partial_sources=settings.partial_sources,
        class_support=1,
        pictures=settings.pictures,
    )
    test = load_test_set(
        context.store,
        plan.inputs["training_set"],
        real_sources=config.real_sources,
        most_documents={},
        most_others=settings.documents,
        split="validation",
    )
    if not test.documents.num_rows:
        return Description()
    run = run_predictors(
        context,
        test,
        load_predictor(writer.scratch / "model"),
        size=config.batch_documents,
        annotator=f"model:{plan.version}",
    )
    measured = measure_tests(test, run.predictions, config)
    illustrator = Illustrator(
        test=test,
        predictions=run.predictions[MODEL],
        store=context.store,
        background=page_background(context, test, None),
    )
    sections = sections_by_test(writer, measured, config=config, illustrator=illustrator)
    models: dict[str, Measures] = {test: measures for (who, test), measures in measured.items() if who == MODEL}
    largest = max(models.values(), key=lambda measures: measures.documents)
    return Description(
        sections=["## Validation documents", *sections],
        measures={
            "validation_documents_read": test.documents.num_rows,
            "validation_field_f1": round(largest.fields.f1, 4),
        },
        slices=[row for test, measures in models.items() for row in _slices(test, measures)],
    )


def _slices(test: str, measures: Measures) -> list[SliceRow]:
    views: dict[str, Any] = {
        "class": measures.fields.by_type,
        "language": measures.fields.by_language,
        "field": measures.fields.by_field,
    }
    return [
        SliceRow(view=f"{test}, {view}", name=name, support=score.support, measure="field F1", value=score.f1)
        for view, scores in views.items()
        for name, score in scores.items()
        if score.support
    ]
