"""`sap-llm data retention`: what may be deleted, why the rest is kept, and deleting it.

Belongs here: arguments and printing. The decision is `storage.retention`, its roots are `registry.live_versions`.
"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sap_llm.cli.data_text import whole
from sap_llm.cli.progress import progress_bar
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError

if TYPE_CHECKING:
    from sap_llm.storage.retention import RetentionPlan

console = Console(highlight=False)
commands = typer.Typer(no_args_is_help=True, help="What may be deleted: plan (a dry run) and apply.")
_SAID = {
    "keep": "keep",
    "hide": "delete",
    "wait": "deleted, bytes wait",
    "purge": "remove bytes",
    "restore": "bring back",
}


@commands.command()
def plan(is_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Show what would be deleted and, for every version that is kept, why. Changes nothing."""
    found = retention_plan(Deployment.load())
    if is_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    print_plan(found)


@commands.command()
def apply(
    is_sure: Annotated[bool, typer.Option("--yes", help="really do it")] = False,
    wait: Annotated[float, typer.Option(help="seconds to wait for another DVC writer")] = 600.0,
) -> None:
    """Carry the plan out: versions go out of sight at once, their bytes when the grace period has passed."""
    deployment = Deployment.load()
    found = retention_plan(deployment)
    print_plan(found)
    if not is_sure:
        raise ConfigurationError("nothing was deleted", where="data retention apply", remedy="Say --yes to do it.")
    from sap_llm.storage import retention
    from sap_llm.storage.dvc_ledger import retire_in

    with progress_bar() as progress:
        retention.apply(
            deployment.store,
            found,
            now=deployment.clock.now(),
            progress=progress,
            release=retire_in(deployment.home, deployment.store, wait_seconds=wait),
        )
    console.print("done")


def retention_plan(deployment: Deployment) -> "RetentionPlan":
    """The plan of this moment."""
    from sap_llm.registry.live_versions import plan_retention
    from sap_llm.storage.retention import RETENTION, RetentionConfig

    return plan_retention(
        deployment.store,
        registry=deployment.registry,
        verdicts=deployment.verdicts,
        config=deployment.config(RetentionConfig, RETENTION),
        now=deployment.clock.now(),
    )


def print_plan(found: "RetentionPlan") -> None:
    """The table of decisions, what goes first, and the sums."""
    table = Table(*whole("dataset version", "built (UTC)", "bytes", "decision", "why"), title="retention")
    order = {action: number for number, action in enumerate(("restore", "purge", "hide", "wait", "keep"))}
    for one in sorted(found.decisions, key=lambda one: order[one.action]):
        table.add_row(
            Text(str(one.ref)),
            f"{one.created_at:%Y-%m-%d %H:%M}",
            f"{one.size_bytes:,}",
            _SAID[one.action],
            Text("; ".join(one.reasons)),
        )
    for scratch in found.leftovers:
        table.add_row(Text(scratch.path), "", f"{scratch.size_bytes:,}", "remove", "left by a killed run")
    console.print(table)
    for gap in found.gaps:
        console.print(Text(f"note: {gap}"))
    freed = found.bytes_of("purge") + sum(scratch.size_bytes for scratch in found.leftovers)
    console.print(
        f"{len(found.having('hide'))} versions to delete ({found.bytes_of('hide'):,} bytes, freed after the grace "
        f"period), {freed:,} bytes freed now, {len(found.having('keep'))} kept ({found.bytes_of('keep'):,} bytes)"
    )
