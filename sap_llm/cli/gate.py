"""`sap-llm gate`: what the gates said about dataset versions, judging again, and recording an override."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sap_llm.deployment import Deployment
from sap_llm.registry.gates import gates_of
from sap_llm.schema.errors import ConfigurationError

console = Console()
commands = typer.Typer(no_args_is_help=True, help="Verdicts of the gates, overrides, drift.")


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    app.add_typer(commands, name="gate")


@commands.command()
def show() -> None:
    """Show every gate of the current dataset versions and whether it is open."""
    deployment = Deployment.load()
    table = Table("dataset", "data version", "gate", "verdict", "explanation")
    for name in deployment.store.names():
        for gate in gates_of(name):
            version = deployment.store.open(deployment.store.current(name)).manifest.data_version
            verdict = deployment.verdicts.find(version, gate)
            said = "not judged" if verdict is None else "passed" if verdict.passed else "failed"
            if (override := deployment.verdicts.standing_override(version, gate)) is not None:
                said += f", overridden by {override.who} until {override.until:%Y-%m-%d}"
            table.add_row(name, version, gate, said, verdict.explanation if verdict else "")
    console.print(table if table.row_count else "no gated dataset was built yet")


@commands.command()
def judge(dataset: Annotated[str, typer.Argument(help="name of a built dataset, such as training_set/r1")]) -> None:
    """Judge the current version of a dataset at every gate that it has; exits 1 when one fails."""
    from sap_llm.learning.judges import GATES_CONFIG, GatesConfig, judge_all

    deployment = Deployment.load()
    opened = deployment.store.open(deployment.store.current(dataset))
    config = deployment.config(GatesConfig, GATES_CONFIG)
    verdicts = judge_all(opened, config=config, verdicts=deployment.verdicts, spark=deployment.spark)
    for verdict in verdicts:
        console.print(f"{verdict.gate}: {'passed' if verdict.passed else 'failed'}; {verdict.explanation}")
        for row in verdict.examples:
            console.print(f"  {', '.join(f'{name} {value}' for name, value in row.items())}", highlight=False)
        if verdict.report:
            console.print(f"  {verdict.report}", highlight=False, soft_wrap=True)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)


@commands.command()
def drift(
    dataset: Annotated[str, typer.Argument(help="name of a built dataset, such as training_set/r2")],
    against: Annotated[str | None, typer.Option(help="another one; the champion's training set by default")] = None,
) -> None:
    """Say which features and classes moved, and how many false alarms halves of the same documents give."""
    from rich.markdown import Markdown

    from sap_llm.learning.drift import champions_training_set, compare
    from sap_llm.learning.drift import table as as_table
    from sap_llm.learning.judges import GATES_CONFIG, GatesConfig

    deployment = Deployment.load()
    store = deployment.store
    reference = store.current(against) if against else champions_training_set(store, deployment.registry)
    if reference is None:
        raise ConfigurationError("there is no champion to compare with", remedy="Name a dataset with --against.")
    config = deployment.config(GatesConfig, GATES_CONFIG)
    new = store.open(store.current(dataset))
    report = compare(new, store.open(reference), config.drift, seed=config.seed)
    console.print(Markdown(as_table(report)))
    console.print(report.explanation, highlight=False)


@commands.command()
def overrides() -> None:
    """List every override that was ever recorded, newest first, and whether it still opens its gate."""
    verdicts = Deployment.load().verdicts
    now = verdicts.clock.now()
    table = Table("data version", "gate", "who (unverified)", "why", "until (UTC)", "state")
    for entry in reversed(verdicts.all_overrides()):
        until = f"{entry.until.astimezone(UTC):%Y-%m-%d %H:%M}"
        state = "stands" if entry.until > now else "ended"
        table.add_row(entry.data_version, entry.gate, escape(entry.who), escape(entry.why), until, state)
    console.print(table if table.row_count else "nobody has recorded an override")


@commands.command()
def override(
    data_version: Annotated[str, typer.Argument(help="as the refusal and `gate show` print it")],
    gate: Annotated[str, typer.Argument(help="name of the closed gate")],
    who: Annotated[str, typer.Option(help="your name; it is recorded, nobody verifies it")],
    why: Annotated[str, typer.Option(help="the reason")],
    until: Annotated[str, typer.Option(help="last moment, ISO 8601, UTC unless it names a zone: 2027-01-31")],
) -> None:
    """Let one data version pass a closed gate until a date; the record is kept for ever."""
    try:
        moment = datetime.fromisoformat(until)
    except ValueError as error:
        raise ConfigurationError(f"{until!r} is no date", where="--until", remedy="Write 2027-01-31.") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    entry = Deployment.load().verdicts.override(data_version, gate, who=who, why=why, until=moment)
    console.print(f"recorded: {entry.gate} is open for {entry.data_version} until {entry.until:%Y-%m-%d %H:%M} UTC")
