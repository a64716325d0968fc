"""`sap-llm build stage-adapters`: adapters of the document stages from the command line.

Belongs here: the one verb, apart from `build` so that each module stays readable. The stage is
`sap_llm.training.adapters`.
"""

from typing import Annotated

import typer

from sap_llm.cli import build
from sap_llm.cli.launching import launcher
from sap_llm.deployment import Deployment


def register(commands: typer.Typer) -> None:
    """Add the verb to the group `build`."""
    commands.command()(stage_adapters)


def stage_adapters(
    release: build.Release = build.DEFAULT_RELEASE,
    stage: Annotated[list[str] | None, typer.Option(help="document stage; may be repeated, all eight without")] = None,
    values: build.Values = None,
) -> None:
    """Train an adapter for each document stage on the instructed model, which is loaded once for all of them."""
    from sap_llm.training.adapters.stage import STAGE_ADAPTERS, build_stage_adapters

    deployment = Deployment.load()
    inputs = build.inputs_behind_doors(deployment, STAGE_ADAPTERS, release)
    built = build_stage_adapters(
        deployment.context(build.progress),
        config=deployment.config(STAGE_ADAPTERS.config, STAGE_ADAPTERS.name, build.overrides_of(values)),
        **inputs,
        release=release,
        document_stages=stage or (),
        work=deployment.work_folder,
        launch=launcher(deployment, STAGE_ADAPTERS),
    )
    for one in built.values():
        build.say(one)
        metrics = one.manifest.metrics
        if "validation_loss" in metrics:
            note = "" if metrics["is_improved"] else ", NO BETTER than without it"
            without = metrics["validation_loss_base"]
            build.console.print(f"  loss {metrics['validation_loss']:.4f}, without the adapter {without:.4f}{note}")
