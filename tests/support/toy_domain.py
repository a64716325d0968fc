"""Texts of a small SAP service and toy documents as token shards, for tests of the domain model.

Belongs here: the dataset versions that `domain_model` consumes, and its plan. The toy documents are `toy_training`'s.
"""

from pathlib import Path
from typing import Any

from sap_llm.modeling.qwen import QwenShape
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import conform
from sap_llm.sources.knowledge_tables import CORPUS_TEXTS
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.training.domain import DOMAIN_MODEL, TOKENS, DomainModelConfig
from sap_llm.training.domain_tokens import DomainTokensConfig, build_domain_tokens
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import make_plan
from tests.support.toy_training import toy_training_set

_THINGS = ("Order", "Invoice", "Supplier", "Plant", "Material", "Delivery", "Payment", "Contract")
_KINDS = ("text", "date", "decimal number", "whole number")


def toy_knowledge(context: StageContext, count: int = 60) -> DatasetRef:
    """`sap_knowledge` with the table `corpus` alone."""
    rows = [
        {
            "text_id": f"API#{number}",
            "kind": "entity_type" if number % 3 else "help_page",
            "service": "API",
            "entity_type": "",
            "language": "en",
            "text": "\n".join(
                f"{_THINGS[(number + line) % 8]} {_THINGS[line % 8]} (Field{line}): It is a {_KINDS[line % 4]} and may "
                "be left empty."
                for line in range(2 + number % 7)
            ),
        }
        for number in range(count)
    ]

    def produce(writer: Any) -> dict[str, Any]:
        writer.write_table("corpus", conform(rows, CORPUS_TEXTS), CORPUS_TEXTS)
        return {}

    return build(context, name="sap_knowledge", stage_version="toy", config=StageConfig(), produce=produce).ref


def toy_tokens(context: StageContext, *, documents: int = 40, knowledge: bool = True, **config: Any) -> DatasetRef:
    """`domain_tokens/r1`."""
    return build_domain_tokens(
        context,
        config=DomainTokensConfig(shape=QwenShape(size="debug"), longest=96, held_out_share=0.2, **config),
        training_set=toy_training_set(context, documents),
        knowledge=toy_knowledge(context) if knowledge else None,
        release="r1",
    ).ref


def planned_reading(
    context: StageContext, config: DomainModelConfig, tokens: DatasetRef, *, work: Path
) -> TrainingPlan[DomainModelConfig]:
    """The plan of the domain model."""
    return make_plan(context, DOMAIN_MODEL, config=config, inputs={TOKENS: tokens}, partition="r1", work=work)
