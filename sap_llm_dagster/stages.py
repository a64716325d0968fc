"""Version and configuration model of each stage's code, for the code versions that the UI compares.

Belongs here: the table asset -> (stage version, configuration model). Raising a version is an edit in the stage.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sap_llm.annotation import human, tasks
from sap_llm.annotation import stage as annotation
from sap_llm.compression import stage as compression
from sap_llm.evaluation import stage as evaluation
from sap_llm.learning import promotion
from sap_llm.modeling.comparison import stage as comparison
from sap_llm.pmg import snapshot
from sap_llm.preparation import release
from sap_llm.preparation import stage as preparation
from sap_llm.rlhf import stage as rlhf
from sap_llm.sources import knowledge, public, qorsync
from sap_llm.storage.build import StageConfig
from sap_llm.synthetic import facts
from sap_llm.synthetic import stage as synthetic
from sap_llm.training import doc_router, domain_tokens, instructions
from sap_llm.training.stages import TRAINING_STAGES

STAGE_CODE: Mapping[str, tuple[str, type[StageConfig]]] = MappingProxyType(
    {
        "raw_exports": (qorsync.STAGE_VERSION, qorsync.RawExportsConfig),
        "public_docs": (public.STAGE_VERSION, public.PublicDocsConfig),
        "sap_knowledge": (knowledge.STAGE_VERSION, knowledge.SapKnowledgeConfig),
        "business_facts": (facts.STAGE_VERSION, facts.BusinessFactsConfig),
        "synthetic_docs": (synthetic.STAGE_VERSION, synthetic.SyntheticDocsConfig),
        "human_annotations": (human.STAGE_VERSION, human.HumanAnnotationsConfig),
        "annotated_docs": (annotation.STAGE_VERSION, annotation.AnnotatedDocsConfig),
        "annotation_tasks": (tasks.STAGE_VERSION, tasks.AnnotationTasksConfig),
        "corpus_release": (release.RELEASE_VERSION, release.CorpusReleaseConfig),
        "training_set": (preparation.TRAINING_VERSION, preparation.TrainingSetConfig),
        "domain_tokens": (domain_tokens.STAGE_VERSION, domain_tokens.DomainTokensConfig),
        "instruction_pairs": (instructions.STAGE_VERSION, instructions.InstructionPairsConfig),
        "doc_router": (doc_router.STAGE_VERSION, doc_router.DocRouterConfig),
        "model_evaluation": (evaluation.STAGE_VERSION, evaluation.ModelEvaluationConfig),
        "base_comparison": (comparison.STAGE_VERSION, comparison.BaseComparisonConfig),
        "quantized_models": (compression.STAGE_VERSION, compression.QuantizedModelsConfig),
        "registered_model": (promotion.STAGE_VERSION, promotion.RegisteredModelConfig),
        "pmg_snapshot": (snapshot.STAGE_VERSION, snapshot.PmgSnapshotConfig),
        "preference_pairs": (rlhf.STAGE_VERSION, rlhf.PreferencePairsConfig),
        **{stage.name: (stage.version, stage.config) for stage in TRAINING_STAGES},
    }
)
