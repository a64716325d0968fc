"""`sap-llm build`: dataset versions from the command line, and so from `dvc repro`.

Belongs here: resolving refs from the store's `current` pointers and calling the same stage functions as Dagster's
assets. Doors hold here as well: a closed gate refuses, whoever asks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml
from rich.console import Console

from sap_llm.cli.launching import launcher
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import require_gates
from sap_llm.schema.errors import ConfigurationError, DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult
from sap_llm.storage.partitions import MONTH, PARTITIONS, PartitionsConfig

if TYPE_CHECKING:
    from sap_llm.training.stage import TrainingStage

console = Console()
DEFAULT_RELEASE = "dvc"


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    from sap_llm.cli import build_adapters, build_domain, build_instructions, build_models

    for module in (build_models, build_domain, build_instructions, build_adapters):
        module.register(commands)
    app.add_typer(commands, name="build")


commands = typer.Typer(
    no_args_is_help=True,
    help="Make dataset versions: corpus, training-set, model, evaluation, quantized, in this order. What exists for "
    "the same inputs, code and configuration is reused. raw-exports and public-docs are parts of corpus, "
    "annotation-tasks needs a corpus, sap-knowledge stands alone. A vision-language model needs a training set: "
    "domain-tokens, domain-model, instruction-pairs, instructed-model, stage-adapters, in this order.",
)
Values = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value in place of the profile's, e.g. backbone.layers=2; may be repeated"),
]
Release = Annotated[str, typer.Option(help="name of the frozen corpus and of all that is made from it")]


@commands.command()
def corpus(release: Release = DEFAULT_RELEASE) -> None:
    """Read sources, make synthetic documents, annotate, freeze a corpus release."""
    from sap_llm.annotation.human_truths import open_batches
    from sap_llm.annotation.pre_annotator import choose
    from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
    from sap_llm.preparation.release import CorpusReleaseConfig, build_corpus_release

    deployment = Deployment.load()
    corpora = _public(deployment) | _synthetic(deployment) | _exports(deployment)
    name = f"annotated_docs/{release}"
    store = deployment.store
    previous = store.open(store.current(name)).manifest if name in store.names() else None
    predictor, version = choose(deployment.registry, previous)
    batches = {name: store.current(name) for name in store.names() if name.startswith("human_annotations/")}
    human, held = open_batches(store, batches, verdicts=deployment.verdicts, consumer="annotated_docs")
    annotated = _judged(
        deployment,
        build_annotated_docs(
            deployment.context(progress),
            config=deployment.config(AnnotatedDocsConfig, "annotated_docs"),
            corpora=corpora,
            release=release,
            predictor=predictor,
            predictor_version=version,
            human=human,
            held=held,
        ),
    )
    require_gates(deployment.verdicts, store.open(annotated), consumer="corpus_release")
    _judged(
        deployment,
        build_corpus_release(
            deployment.context(progress),
            config=deployment.config(CorpusReleaseConfig, "corpus_release"),
            annotated=annotated,
            corpora=corpora,
            release=release,
            knowledge=store.current("sap_knowledge") if "sap_knowledge" in store.names() else None,
        ),
    )


@commands.command()
def annotation_tasks(release: Release = DEFAULT_RELEASE) -> None:
    """Choose the documents that people are asked about, and say what that costs."""
    from rich.markdown import Markdown

    from sap_llm.annotation.task_report import REPORT
    from sap_llm.annotation.tasks import AnnotationTasksConfig, build_annotation_tasks

    deployment = Deployment.load()
    annotated = current(deployment, f"annotated_docs/{release}")
    require_gates(deployment.verdicts, deployment.store.open(annotated), consumer="annotation_tasks")
    built = build_annotation_tasks(
        deployment.context(progress),
        config=deployment.config(AnnotationTasksConfig, "annotation_tasks"),
        annotated=annotated,
        release=release,
    )
    _judged(deployment, built)
    console.print(Markdown(built.dataset.path(REPORT).read_text(encoding="utf-8")))


@commands.command()
def training_set(release: Release = DEFAULT_RELEASE) -> None:
    """Clean, de-duplicate and split the release; write token shards."""
    from sap_llm.preparation.stage import TrainingSetConfig, build_training_set

    deployment = Deployment.load()
    consumed = current(deployment, f"corpus_release/{release}")
    require_gates(deployment.verdicts, deployment.store.open(consumed), consumer="training_set")
    _judged(
        deployment,
        build_training_set(
            deployment.context(progress),
            config=deployment.config(TrainingSetConfig, "training_set"),
            corpus_release=consumed,
            release=release,
            spark=deployment.spark,
        ),
    )


@commands.command()
def model(release: Release = DEFAULT_RELEASE, values: Values = None) -> None:
    """Train the document model; a killed run resumes from its last checkpoint."""
    from sap_llm.training.multitask import MULTITASK_MODEL

    train(MULTITASK_MODEL, release, values)


@commands.command()
def evaluation(release: Release = DEFAULT_RELEASE) -> None:
    """Measure the model on the frozen test documents, beside the label-regex baseline."""
    from sap_llm.evaluation.stage import ModelEvaluationConfig, build_model_evaluation
    from sap_llm.modeling.runtimes import load_predictor
    from sap_llm.reading.sandbox import Sandbox

    deployment = Deployment.load()
    training_set = current(deployment, f"training_set/{release}")
    require_gates(deployment.verdicts, deployment.store.open(training_set), consumer="model_evaluation")
    with Sandbox() as sandbox:
        built = build_model_evaluation(
            deployment.context(progress),
            config=deployment.config(ModelEvaluationConfig, "model_evaluation"),
            model=current(deployment, f"multitask_model/{release}"),
            training_set=training_set,
            release=release,
            load_predictor=load_predictor,
            render=sandbox.render,
        )
    _judged(deployment, built)


@commands.command()
def quantized(release: Release = DEFAULT_RELEASE, variant: Literal["int8"] = "int8") -> None:
    """Compress the model; the variant is refused unless it is faster and nearly as good as its parent."""
    from sap_llm.compression.stage import QuantizedModelsConfig, build_quantized_models

    deployment = Deployment.load()
    training_set = current(deployment, f"training_set/{release}")
    require_gates(deployment.verdicts, deployment.store.open(training_set), consumer="quantized_models")
    _judged(
        deployment,
        build_quantized_models(
            deployment.context(progress),
            config=deployment.config(QuantizedModelsConfig, "quantized_models"),
            model=current(deployment, f"multitask_model/{release}"),
            training_set=training_set,
            release=release,
            variant=variant,
        ),
    )


@commands.command()
def sap_knowledge(
    folder: Annotated[Path | None, typer.Option(help="$metadata files (.edmx, .xml), pages (.html)")] = None,
    url: Annotated[list[str] | None, typer.Option(help="address of a $metadata document; may be repeated")] = None,
    page: Annotated[list[str] | None, typer.Option(help="address of a documentation page; may be repeated")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="take addresses from the cache alone")] = False,
) -> None:
    """Read what SAP's services and documentation say about fields, into tables, texts, a report and the graph."""
    from sap_llm.sources.knowledge import SapKnowledgeConfig, build_sap_knowledge
    from sap_llm.sources.knowledge_graph import write_knowledge_graph

    deployment = Deployment.load()
    named: dict[str, Any] = {
        "folder": str(folder.resolve()) if folder else None,
        "urls": url or None,
        "pages": page or None,
    }
    overrides = {key: value for key, value in named.items() if value is not None}
    if offline:
        overrides["fetch.is_offline"] = True
    built = build_sap_knowledge(
        deployment.context(progress),
        config=deployment.config(SapKnowledgeConfig, "sap_knowledge", overrides),
        home=deployment.home,
        documents=deployment.documents_folder,
        cache=deployment.metadata_cache,
    )
    say(built)
    with deployment.graph() as graph:
        write_knowledge_graph(graph, built.dataset, progress=progress)


@commands.command()
def public_docs(
    corpus: Annotated[list[str] | None, typer.Argument(help="names of corpora; all that lie here by default")] = None,
) -> None:
    """Read public corpora and print the card of each: counts, licence, fields, what was refused and why."""
    from rich.markdown import Markdown

    from sap_llm.sources.card import PICTURE_HEADING
    from sap_llm.sources.public import REPORT

    deployment = Deployment.load()
    for name in corpus or _available(deployment):
        built = _corpus(deployment, name)
        say(built)
        text = built.dataset.path(REPORT).read_text(encoding="utf-8")
        console.print(Markdown(text.partition(PICTURE_HEADING)[0]))


@commands.command()
def raw_exports(
    month: Annotated[list[str] | None, typer.Option(help="month of processing, 2026-03; may be repeated")] = None,
    is_listing: Annotated[bool, typer.Option("--list", help="only say which months hold how many headers")] = False,
) -> None:
    """Export months of QorSync; without --month all that hold rows. What did not change is taken over."""
    deployment = Deployment.load()
    if not is_listing or not deployment.has_qorsync:
        _exports(deployment, [_month(text) for text in month or ()])
        return
    first = deployment.first_month
    for state in deployment.qorsync_months():
        note = "" if state.month >= first else f"; before {first}"
        console.print(f"{state.month}  {state.documents:,} headers, changed until {state.latest}{note}")


def train(stage: "TrainingStage[Any]", release: str, values: Sequence[str] | None = None) -> DatasetRef:
    """Plan, launch and collect a training stage from the current versions of its inputs, if their gates are open."""
    from sap_llm.training.stage import build_trained

    deployment = Deployment.load()
    return say(
        build_trained(
            deployment.context(progress),
            stage,
            config=deployment.config(stage.config, stage.name, overrides_of(values)),
            inputs=inputs_behind_doors(deployment, stage, release),
            partition=release,
            work=deployment.work_folder,
            launch=launcher(deployment, stage),
        )
    )


def inputs_behind_doors(deployment: Deployment, stage: "TrainingStage[Any]", release: str) -> dict[str, DatasetRef]:
    """Current versions of what a training stage consumes, by asset; refused where a gate is closed."""
    inputs = {asset: current(deployment, name) for asset, name in stage.input_names(release).items()}
    for ref in inputs.values():
        require_gates(deployment.verdicts, deployment.store.open(ref), consumer=stage.name)
    return inputs


def _month(text: str) -> str:
    if MONTH.fullmatch(text) is None:
        raise ConfigurationError(f"{text!r} is no month", where="--month", remedy="Write it as 2026-03.")
    return text


def _public(deployment: Deployment) -> dict[str, DatasetRef]:
    known = deployment.config(PartitionsConfig, PARTITIONS).corpora
    return {f"public_docs/{name}": say(_corpus(deployment, name)) for name in _available(deployment) if name in known}


def _available(deployment: Deployment) -> list[str]:
    from sap_llm.sources.public import available_corpora

    folder = deployment.documents_folder
    return available_corpora(folder) if folder is not None else []


def _corpus(deployment: Deployment, name: str) -> BuildResult:
    from sap_llm.sources.public import PublicDocsConfig, build_public_docs

    config = deployment.config(PublicDocsConfig, "public_docs")
    folder = deployment.documents_folder
    return build_public_docs(deployment.context(progress), config=config, corpus=name, folder=folder)


def _synthetic(deployment: Deployment) -> dict[str, DatasetRef]:
    from sap_llm.synthetic.facts import BusinessFactsConfig, build_business_facts
    from sap_llm.synthetic.stage import SyntheticDocsConfig, build_synthetic_docs

    context = deployment.context(progress)
    made: dict[str, DatasetRef] = {}
    for seed_range in deployment.config(PartitionsConfig, PARTITIONS).seed_ranges:
        facts = build_business_facts(
            context, config=deployment.config(BusinessFactsConfig, "business_facts"), seed_range=seed_range
        )
        made[f"synthetic_docs/{seed_range}"] = say(
            build_synthetic_docs(
                context,
                config=deployment.config(SyntheticDocsConfig, "synthetic_docs"),
                facts=say(facts),
                seed_range=seed_range,
            )
        )
    return made


def _exports(deployment: Deployment, months: Sequence[str] = ()) -> dict[str, DatasetRef]:
    """Export the given months, by default all of the profile that hold rows."""
    from sap_llm.sources.qorsync import RawExportsConfig, build_raw_exports

    if not deployment.has_qorsync:
        console.print("raw_exports: no QorSync source here, skipped")
        return {}
    config = deployment.config(RawExportsConfig, "raw_exports")
    context = deployment.context(progress)
    with deployment.qorsync() as source:
        filled = [state.month for state in deployment.qorsync_months() if state.month >= deployment.first_month]
        return {
            f"raw_exports/{month}": say(build_raw_exports(context, config=config, source=source, month=month))
            for month in months or filled
        }


def overrides_of(values: Sequence[str] | None) -> dict[str, Any]:
    """Dotted overrides of `key=value` texts; values are YAML.

    Raises:
        ConfigurationError: A text is none.
    """
    overrides: dict[str, Any] = {}
    for text in values or ():
        key, separator, value = text.partition("=")
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{value!r} is no YAML", where=f"--set {key}") from error
        if not separator:
            raise ConfigurationError(f"{text!r} has no value", where="--set", remedy="Write it as key=value.")
    return overrides


def current(deployment: Deployment, name: str) -> DatasetRef:
    """The current version of a dataset; where there is none, the error says what to build."""
    try:
        return deployment.store.current(name)
    except DatasetNotFoundError as error:
        stage = name.partition("/")[0]
        raise DatasetNotFoundError(error.what, where=error.where, remedy=f"Build {stage} first.") from error


def _judged(deployment: Deployment, built: BuildResult) -> DatasetRef:
    """Say what was built and let its gates judge it, as Dagster's asset checks do."""
    from sap_llm.learning.judges import GATES_CONFIG, GatesConfig, judge_all

    config = deployment.config(GatesConfig, GATES_CONFIG)
    for verdict in judge_all(built.dataset, config=config, verdicts=deployment.verdicts, spark=deployment.spark):
        console.print(f"  {verdict.gate} {'passed' if verdict.passed else 'FAILED: ' + verdict.explanation}")
    return say(built)


def say(built: BuildResult) -> DatasetRef:
    """Print what was built or reused."""
    manifest = built.manifest
    rows = ", ".join(f"{name} {count:,}" for name, count in manifest.rows.items())
    console.print(f"{manifest.name} {'reused' if built.is_reused else 'built'} {manifest.version}  {rows}")
    return built.ref


def progress(message: str, *, done: int = 0, total: int = 0) -> None:
    """Print progress of a stage."""
    console.print(f"  {message}" + (f" {done}/{total}" if total else ""), style="dim", highlight=False)
