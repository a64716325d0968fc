"""`sap-llm build` of what stands beside the document model: the router before it, the comparison of its candidates.

Belongs here: commands of models' stages, apart from `build` so that each module stays readable. The stages themselves
are `training` and `modeling`.
"""

import typer
from rich.console import Console
from rich.markdown import Markdown

from sap_llm.cli import build
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import require_gates

console = Console()


def register(commands: typer.Typer) -> None:
    """Add the commands to the group `build`."""
    commands.command()(doc_router)
    commands.command()(base_comparison)


def doc_router(release: build.Release = build.DEFAULT_RELEASE, values: build.Values = None) -> None:
    """Fit the light model that tells class and difficulty of a document before a model reads it."""
    from sap_llm.training.doc_router import DocRouterConfig, build_doc_router

    deployment = Deployment.load()
    training_set = build.current(deployment, f"training_set/{release}")
    require_gates(deployment.verdicts, deployment.store.open(training_set), consumer="doc_router")
    build.say(
        build_doc_router(
            deployment.context(build.progress),
            config=deployment.config(DocRouterConfig, "doc_router", build.overrides_of(values)),
            model=build.current(deployment, f"multitask_model/{release}"),
            training_set=training_set,
            release=release,
        )
    )


def base_comparison(release: build.Release = build.DEFAULT_RELEASE, values: build.Values = None) -> None:
    """Compare candidates for the base model on one sample, and print the matrix and what fills its empty cells."""
    from sap_llm.modeling.comparison.candidates import evaluations_of
    from sap_llm.modeling.comparison.stage import REPORT, BaseComparisonConfig, build_base_comparison
    from sap_llm.reading.sandbox import Sandbox

    deployment = Deployment.load()
    training_set = build.current(deployment, f"training_set/{release}")
    require_gates(deployment.verdicts, deployment.store.open(training_set), consumer="base_comparison")
    with Sandbox() as sandbox:
        built = build_base_comparison(
            deployment.context(build.progress),
            config=deployment.config(BaseComparisonConfig, "base_comparison", build.overrides_of(values)),
            training_set=training_set,
            evaluations=evaluations_of(deployment.store, release, training_set),
            release=release,
            render=sandbox.render,
        )
    build.say(built)
    console.print(Markdown(built.dataset.path(REPORT).read_text(encoding="utf-8")))
