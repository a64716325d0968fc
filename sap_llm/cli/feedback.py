"""`sap-llm feedback`: what a reviewer says about a processed document, recorded in the process memory graph."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError

if TYPE_CHECKING:
    from sap_llm.pmg.feedback import Kind

console = Console()
commands = typer.Typer(no_args_is_help=True, help="Corrections, approvals and rejections: what retraining learns from.")
User = Annotated[str, typer.Option(help="who says so; recorded, not verified")]


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    app.add_typer(commands, name="feedback")


@commands.command()
def correct(
    document_id: Annotated[str, typer.Argument(help="as the process memory names it: doc-...")],
    changes: Annotated[list[str], typer.Argument(help="field=before=after, e.g. total_amount=11.90=119.00")],
    user: User,
) -> None:
    """Record a correction of one document's newest extraction."""
    _record(document_id, "correction", user, dict(map(_change, changes)))


@commands.command()
def approve(document_id: str, user: User) -> None:
    """Record that an extraction is right."""
    _record(document_id, "approval", user, {})


@commands.command()
def reject(document_id: str, user: User, reason: Annotated[str, typer.Option()] = "") -> None:
    """Record that a document cannot be used as it is."""
    _record(document_id, "rejection", user, {}, reason=reason)


@commands.command()
def candidates() -> None:
    """Show, by type and subtype, how much was reviewed and corrected since the process memory began."""
    from rich.table import Table

    from sap_llm.pmg.candidates import feedback_counts

    with Deployment.load().graph() as graph:
        found = feedback_counts(graph)
    table = Table("type", "subtype", "reviewed", "corrected", "error rate")
    for entry in found:
        rate = f"{entry.error_rate:.1%}"
        table.add_row(
            entry.document_type, entry.document_subtype or "", f"{entry.reviewed}", f"{entry.corrected}", rate
        )
    console.print(table if found else "no feedback yet")


def _change(text: str) -> tuple[str, dict[str, str | None]]:
    parts = text.split("=")
    if len(parts) != 3:
        raise ConfigurationError(f"{text!r} is not field=before=after", where="correction", remedy="Write three parts.")
    name, before, after = parts
    return name, {"before": before or None, "after": after or None}


def _record(
    document_id: str, kind: "Kind", user: str, corrections: dict[str, dict[str, str | None]], *, reason: str = ""
) -> None:
    from sap_llm.pmg.feedback import Feedback, record_feedback

    deployment = Deployment.load()
    entry = Feedback(document_id=document_id, kind=kind, user_id=user, corrections=corrections, reason=reason)
    with deployment.graph() as graph:
        (identifier,) = record_feedback(graph, [entry], clock=deployment.clock)
    console.print(f"recorded {identifier}")
