"""`sap-llm annotate`: asking people about documents, and taking over what they answered.

Belongs here: arguments and printing. Sending is `annotation.sending`, collecting `annotation.human`; which documents
are asked about is the dataset `annotation_tasks`.
"""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sap_llm.cli.build import _judged
from sap_llm.cli.progress import progress_bar
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import Dataset

console = Console()
_STAGE = "human_annotations"
_SHOWN = 10

commands = typer.Typer(
    no_args_is_help=True,
    help="People's work. [bold]send[/bold] puts the tasks of a release on the desk, [bold]sync[/bold] takes over the "
    "answers, [bold]status[/bold] shows how far each queue is. The desk is a folder, or Label Studio where "
    "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY name one (`make label-studio` starts it).",
)
Release = Annotated[str, typer.Option(help="the batch, as the datasets are called: r1 of annotated_docs/r1")]


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    app.add_typer(commands, name="annotate")


@commands.command()
def send(
    release: Release,
    tasks: Annotated[
        str | None, typer.Option(help="dataset with a table `tasks`; default annotation_tasks/<release>")
    ] = None,
) -> None:
    """Put the release's tasks on the desk. Run it again after anything: what is there is never sent twice."""
    from sap_llm.annotation.human import HumanAnnotationsConfig
    from sap_llm.annotation.sending import send as send_tasks
    from sap_llm.reading.sandbox import Sandbox
    from sap_llm.schema.annotation import TASKS

    deployment = Deployment.load()
    dataset = deployment.store.open(deployment.store.current(tasks or f"annotation_tasks/{release}"))
    desk = deployment.desk()
    with Sandbox() as sandbox, progress_bar() as progress:
        sent = send_tasks(
            deployment.context(progress),
            desk=desk,
            tasks=dataset.table("tasks").select(TASKS.names),
            annotated=_annotated(deployment, dataset, release),
            release=release,
            config=deployment.config(HumanAnnotationsConfig, _STAGE).sending,
            render=sandbox.render,
            human=_current(deployment, f"{_STAGE}/{release}"),
        )
    console.print(f"{sent.posted:,} tasks sent to {desk.name}, {sent.present:,} were there")
    if sent.renewed:
        console.print(f"{sent.renewed:,} arbitrations have further answers to decide on")
    for row in sent.refused[:_SHOWN]:
        console.print(f"  not sent: {row['detail']}", highlight=False)
    if len(sent.refused) > _SHOWN:
        console.print(f"  and {len(sent.refused) - _SHOWN:,} more")


@commands.command()
def sync(
    release: Release,
    is_full: Annotated[
        bool, typer.Option("--full", help="look at every answer, not only at what is new; refused ones are read again")
    ] = False,
) -> None:
    """Take over what people answered; a new version of human_annotations/<release> where something is new."""
    from sap_llm.annotation.human import HumanAnnotationsConfig, build_human_annotations

    deployment = Deployment.load()
    with progress_bar() as progress:
        built = build_human_annotations(
            deployment.context(progress),
            config=deployment.config(HumanAnnotationsConfig, _STAGE),
            desk=deployment.desk(),
            release=release,
            previous=_current(deployment, f"{_STAGE}/{release}"),
            is_full=is_full,
        )
    _judged(deployment, built)
    for row in built.dataset.table("quarantine").to_pylist()[-_SHOWN:]:
        console.print(f"  {row['record']} {row['reason']}: {row['detail']}", highlight=False)


@commands.command()
def status() -> None:
    """Show every queue at the desk: tasks, answers, documents that people skipped."""
    desk = Deployment.load().desk()
    table = Table("release", "queue", "tasks", "answers", "skipped", title=desk.name)
    for entry in desk.status():
        table.add_row(entry.release, entry.queue, f"{entry.tasks:,}", f"{entry.answers:,}", f"{entry.skipped:,}")
    console.print(table if table.row_count else f"no tasks at {desk.name}; `sap-llm annotate send` puts some there")


def _annotated(deployment: Deployment, tasks: Dataset, release: str) -> DatasetRef:
    """The version of annotated_docs that the tasks were chosen from."""
    made_from = next((ref for ref in tasks.manifest.inputs.values() if ref.name.startswith("annotated_docs/")), None)
    found = made_from or _current(deployment, f"annotated_docs/{release}")
    if found is None:
        raise ConfigurationError(
            f"annotated_docs/{release} was never built", where="--release", remedy="Build it: `sap-llm build corpus`."
        )
    return found


def _current(deployment: Deployment, name: str) -> DatasetRef | None:
    return deployment.store.current(name) if name in deployment.store.names() else None
