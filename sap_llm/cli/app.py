"""The map of commands, and the one place where errors for users become messages instead of tracebacks."""

import logging
import sys
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console

from sap_llm.schema.errors import SapLlmError

app = typer.Typer(
    name="sap-llm",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Document AI for SAP business documents: purchase orders, invoices, sales orders, goods receipts.\n\n"
    "[bold]extract[/bold] reads one document. [bold]build[/bold] makes dataset versions "
    "(what Dagster's assets and `dvc repro` run). [bold]status[/bold] shows what exists. [bold]synthetic[/bold] "
    "writes, shows and measures documents of the simulator, [bold]augment[/bold] damages them. [bold]data[/bold] "
    "compares, restores, shares and cleans up dataset versions. [bold]annotate[/bold] asks people and takes over their "
    "answers. [bold]models[/bold] lists the networks that a model can be trained from, [bold]training[/bold] says what "
    "a training needs and would start. [bold]gate[/bold] and [bold]feedback[/bold] are the reviewer's and the ML "
    "lead's tools. `make dev` opens the Dagster UI over the same data.",
)
errors = Console(stderr=True)


@app.callback()
def _options(
    profile: Annotated[
        str | None,
        typer.Option(
            envvar="SAP_LLM_PROFILE",
            help="seconds | tiny | gpu | cluster; default tiny",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log what the libraries do")] = False,
) -> None:
    import os

    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(name)s: %(message)s")
    if profile:
        os.environ["SAP_LLM_PROFILE"] = profile


def show_error(error: SapLlmError) -> None:
    """Print an error for users as its sentence, on standard error."""
    errors.print(f"[bold red]error[/bold red] {type(error).__name__}: ", end="")
    errors.print(str(error), markup=False, highlight=False)


def modules() -> tuple[ModuleType, ...]:
    """The commands and groups, each of which registers itself, in the order in which help shows them."""
    from sap_llm.cli import (
        annotate,
        augment,
        build,
        data,
        extract,
        feedback,
        gate,
        models,
        seed,
        status,
        synthetic,
        training,
    )

    return (extract, build, seed, status, data, synthetic, augment, annotate, models, training, gate, feedback)


def main() -> None:
    """Entry point of the `sap-llm` script."""
    for module in modules():
        module.register(app)
    try:
        app()
    except SapLlmError as error:
        show_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(130)
