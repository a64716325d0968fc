"""The jobs along the lineage and their schedules.

Belongs here: selections by key. Assets are not imported; a name that does not exist fails when definitions load.
"""

from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import dagster as dg

from jobs.annotation import collect_answers, send_for_annotation
from jobs.dvc import commit_to_dvc
from jobs.retention import retention_report
from resources.partitions import release

TIME_ZONE = "Europe/Berlin"
EXPORT_SOURCES, READ_CORPORA, MAKE_SYNTHETIC = "export_sources", "read_corpora", "make_synthetic"
LEARN_SAP, INSTRUCT_MODEL, TRAIN_ADAPTERS = "learn_sap", "instruct_model", "train_adapters"
BUILD_CORPUS, TRAIN_MODEL, COMPRESS_MODEL, RELEASE_MODEL = (
    "build_corpus",
    "train_model",
    "compress_model",
    "release_model",
)
RETRAIN = "retrain"

_CORPUS = ("annotated_docs", "annotation_tasks", "corpus_release", "training_set")
_INSTRUCTED = ("domain_tokens", "domain_model", "instruction_pairs", "instructed_model")
_MODEL = ("multitask_model", "doc_router", "model_evaluation", "base_comparison")


def _job(name: str, description: str, *assets: str) -> Any:  # Dagster does not export the type
    selection = dg.AssetSelection.assets(*assets)
    return dg.define_asset_job(name, selection=selection, description=description)


export_sources = _job(EXPORT_SOURCES, "Export what is new in a month of QorSync (partition: month).", "raw_exports")
read_corpora = _job(READ_CORPORA, "Read one public corpus (partition: corpus).", "public_docs")
learn_sap = _job(LEARN_SAP, "Read what SAP's OData services say about their fields.", "sap_knowledge")
make_synthetic = _job(
    MAKE_SYNTHETIC, "Invent and typeset worlds (partition: seed range).", "business_facts", "synthetic_docs"
)
build_corpus = _job(BUILD_CORPUS, "From all documents to a gated training set (partition: release).", *_CORPUS)
train_model = _job(TRAIN_MODEL, "Train and evaluate the model of a release.", *_MODEL)
instruct_model = _job(
    INSTRUCT_MODEL,
    "Teach a vision-language model SAP's language, then to answer about documents (partition: release).",
    *_INSTRUCTED,
)
train_adapters = _job(
    TRAIN_ADAPTERS, "Train adapters of a release (partition: release and document stage, or several).", "stage_adapters"
)
compress_model = _job(
    COMPRESS_MODEL, "Make one compressed variant (partition: release and variant).", "quantized_models"
)
release_model = _job(
    RELEASE_MODEL,
    "Register, perhaps promote, and remember a release, with what people preferred.",
    "registered_model",
    "pmg_snapshot",
    "preference_pairs",
)
retrain = _job(
    RETRAIN, "A new release from corpus to evaluated model; asked for by retraining_sensor.", *_CORPUS, *_MODEL
)


@dg.schedule(job=export_sources, cron_schedule="0 2 * * *", execution_timezone=TIME_ZONE)
def daily_export(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Every night at two: what is new in QorSync this month; on the first of a month what the last one ended with."""
    now = context.scheduled_execution_time.astimezone(UTC)
    for month in sorted({f"{now - timedelta(days=1):%Y-%m}", f"{now:%Y-%m}"}):
        yield dg.RunRequest(run_key=f"export-{month}-{now:%Y-%m-%d}", partition_key=month)


@dg.schedule(job=build_corpus, cron_schedule="0 4 * * 0", execution_timezone=TIME_ZONE)
def weekly_refresh(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Every Sunday: opens a release named after the week and builds its corpus from all documents there are."""
    name = f"{context.scheduled_execution_time:%G-w%V}"
    context.instance.add_dynamic_partitions(release.name or "", [name])
    yield dg.RunRequest(run_key=f"refresh-{name}", partition_key=name)


@dg.schedule(job=retention_report, cron_schedule="0 6 * * 1", execution_timezone=TIME_ZONE)
def weekly_retention_report(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every Monday morning: what may be deleted. It deletes nothing."""
    return dg.RunRequest(run_key=f"retention-{context.scheduled_execution_time:%G-w%V}")


JOBS = [
    export_sources,
    read_corpora,
    learn_sap,
    make_synthetic,
    build_corpus,
    train_model,
    instruct_model,
    train_adapters,
    compress_model,
    release_model,
    retrain,
    send_for_annotation,
    collect_answers,
    commit_to_dvc,
    retention_report,
]
SCHEDULES = [daily_export, weekly_refresh, weekly_retention_report]
