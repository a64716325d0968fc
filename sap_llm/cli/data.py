"""`sap-llm data`: history, difference, restoring and sharing of dataset versions.

Belongs here: arguments, exit codes and which versions are meant. How results look is `data_text`, cleaning up is
`retention`, what the verbs do is `sap_llm.storage`.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sap_llm.cli import retention
from sap_llm.cli.app import show_error
from sap_llm.cli.progress import progress_bar
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError, DatasetNotFoundError, SapLlmError
from sap_llm.schema.manifest import DatasetRef

console = Console(highlight=False)
commands = typer.Typer(no_args_is_help=True, help="Versions of datasets: log, diff, checkout, push, pull, retention.")
IsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Remote = Annotated[str | None, typer.Option(help="name of a DVC remote; the default one if not given")]
Wait = Annotated[float, typer.Option(help="seconds to wait for another DVC writer")]
_TROUBLE = 2  # of diff(1): 0 the same, 1 different, 2 trouble


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    commands.add_typer(retention.commands, name="retention")
    app.add_typer(commands, name="data")


@commands.command()
def log(
    name: Annotated[str, typer.Argument(help="dataset with its partition, such as training_set/r1")],
    is_json: IsJson = False,
) -> None:
    """Show the versions of a dataset, newest first: when, by whom, by which code, rows, metrics that changed."""
    from sap_llm.cli.data_text import history_table
    from sap_llm.storage.dvc_ledger import DvcLedger
    from sap_llm.storage.versions import history

    deployment = Deployment.load()
    entries = history(deployment.store, name)
    known = [entry for ref, entry in DvcLedger(deployment.home, deployment.store).entries().items() if ref.name == name]
    here = {entry.manifest.version for entry in entries}
    remote = [entry for entry in known if entry.ref.version not in here]
    if not entries and not remote:
        raise DatasetNotFoundError(
            f"no version of {name}", where=deployment.store.root_url, remedy="`sap-llm status` lists the datasets."
        )
    tracked = {entry.ref.version for entry in known}
    if is_json:
        shown = [
            entry.model_dump(mode="json") | {"is_here": True, "is_in_dvc": entry.manifest.version in tracked}
            for entry in entries
        ]
        shown += [
            {"manifest": {"name": name, "version": entry.ref.version}, "is_here": False, "is_in_dvc": True}
            | {"about": entry.about.model_dump(mode="json") if entry.about else None}
            for entry in remote
        ]
        typer.echo(json.dumps(shown, indent=2))
        return
    console.print(history_table(name, entries, tracked, remote))


@commands.command()
def diff(
    first: Annotated[str, typer.Argument(help="NAME@VERSION, NAME for the current one, or NAME before two versions")],
    second: Annotated[str, typer.Argument(help="the other NAME@VERSION, or the first version")],
    third: Annotated[str | None, typer.Argument(help="the second version, after NAME and the first")] = None,
    is_json: IsJson = False,
    examples: Annotated[int, typer.Option(help="documents or values named for each difference", min=0)] = 3,
) -> None:
    """Show what differs from the first version to the second. Versions may be shortened.

    Exits like diff(1): 0 where both hold the same data, 1 where they differ, 2 in trouble.
    """
    from sap_llm.cli.data_text import print_diff
    from sap_llm.storage.diff import compare

    try:
        deployment = Deployment.load()
        texts = (first, second) if third is None else (f"{first}@{second}", f"{first}@{third}")
        before, after = (_here(deployment, text) for text in texts)
        found = compare(deployment.store, before, after, examples=examples)
    except SapLlmError as error:
        show_error(error)
        raise typer.Exit(_TROUBLE) from error
    if is_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_diff(console, found)
    raise typer.Exit(0 if found.has_same_data else 1)


@commands.command()
def checkout(
    version: Annotated[str, typer.Argument(help="NAME@VERSION; the version may be shortened")],
    to: Annotated[Path | None, typer.Option(help="write it to this new folder instead; nothing else changes")] = None,
    remote: Remote = None,
    wait: Wait = 600.0,
) -> None:
    """Make an old version current again, or export it, after verifying every byte and its logical hash.

    What is not here is fetched from DVC's cache or remote; a damaged version is refused.
    """
    from sap_llm.storage import versions
    from sap_llm.storage.deletion import tombstone

    deployment = Deployment.load()
    ref = _meant(deployment, version)
    if deployment.store.find(ref) is None and tombstone(deployment.store, ref) is None:
        _pull(deployment, [ref], remote, wait)
    if to is not None:
        versions.export(deployment.store, ref, to)
        console.print(f"{ref} is in {to}")
        return
    dataset = versions.checkout(deployment.store, ref)
    console.print(f"{ref} is current; its logical hash is {dataset.manifest.data_version}, as recorded")


@commands.command()
def push(
    names: Annotated[list[str] | None, typer.Argument(help="NAME, NAME@VERSION or asset; all by default")] = None,
    remote: Remote = None,
    wait: Wait = 600.0,
) -> None:
    """Track versions with DVC and copy them to a remote; on object storage their manifests. Killed, call it again."""
    from sap_llm.storage.dvc_ledger import DvcLedger, local_versions
    from sap_llm.storage.dvc_writer import only_writer

    deployment = Deployment.load()
    exact = [_here(deployment, name) for name in names or () if "@" in name]
    loose = [name for name in names or () if "@" not in name]
    refs = [*exact, *(local_versions(deployment.store, loose) if loose or not names else ())]
    _refuse_unknown(loose, refs, where=deployment.store.root_url)
    if not refs:
        raise DatasetNotFoundError("no such version here", where=", ".join(names or ()) or deployment.store.root_url)
    with (
        progress_bar() as progress,
        only_writer(deployment.home, "push", wait_seconds=wait, clock=deployment.clock, progress=progress) as writer,
    ):
        DvcLedger(deployment.home, deployment.store).push(writer, refs, remote=remote, progress=progress)
    console.print(f"{len(refs)} versions are on {remote or 'the default remote'}")


@commands.command()
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(help="NAME or NAME@VERSION; all that DVC knows by default")
    ] = None,
    remote: Remote = None,
    wait: Wait = 600.0,
    replace: Annotated[bool, typer.Option("--replace", help="throw a damaged NAME@VERSION away first")] = False,
) -> None:
    """Fetch versions that are not here; each appears whole and verified, or not at all. Killed, call it again."""
    from sap_llm.storage.dvc_ledger import DvcLedger

    deployment = Deployment.load()
    if replace and not all("@" in name for name in names or ("",)):
        raise ConfigurationError("--replace needs exact versions", where="data pull", remedy="Write NAME@VERSION.")
    refs = [_meant(deployment, name) for name in names or () if "@" in name]
    loose = [name for name in names or () if "@" not in name]
    known = DvcLedger(deployment.home, deployment.store).entries().values()
    wanted = [entry.ref for entry in known if not entry.is_retired and (not names or entry.ref.name in loose)]
    _refuse_unknown(loose, wanted, where="DVC's versions")
    missing = [ref for ref in (*refs, *wanted) if replace or deployment.store.find(ref) is None]
    _pull(deployment, missing, remote, wait, replace=replace)
    console.print(f"{len(missing)} versions fetched, {len(refs) + len(wanted) - len(missing)} were here")


def _pull(
    deployment: Deployment, refs: list[DatasetRef], remote: str | None, wait: float, *, replace: bool = False
) -> None:
    from sap_llm.storage.dvc_ledger import DvcLedger
    from sap_llm.storage.dvc_writer import only_writer

    ledger = DvcLedger(deployment.home, deployment.store)
    with (
        progress_bar() as progress,
        only_writer(deployment.home, "pull", wait_seconds=wait, clock=deployment.clock, progress=progress) as writer,
    ):
        if replace:
            for ref in refs:
                ledger.discard_damaged(writer, ref, now=deployment.clock.now(), progress=progress)
        ledger.pull(writer, refs, remote=remote, progress=progress)


def _refuse_unknown(names: Iterable[str], refs: Sequence[DatasetRef], *, where: str) -> None:
    """A name, or the beginning of names, of which there is no version is misspelt: nothing would be done about it."""
    unknown = [name for name in names if not any(ref.name == name or ref.name.startswith(f"{name}/") for ref in refs)]
    if unknown:
        remedy = "`sap-llm status` lists the names; a version that was deleted here is fetched as NAME@VERSION."
        raise DatasetNotFoundError(f"no version of {', '.join(unknown)}", where=where, remedy=remedy)


def _meant(deployment: Deployment, text: str) -> DatasetRef:
    """The version that is meant, here or known to DVC."""
    from sap_llm.storage.dvc_ledger import DvcLedger
    from sap_llm.storage.versions import resolve

    known = DvcLedger(deployment.home, deployment.store).entries()
    return resolve(deployment.store, text, elsewhere=known)


def _here(deployment: Deployment, text: str) -> DatasetRef:
    """The version that is meant, which must be here."""
    ref = _meant(deployment, text)
    if deployment.store.find(ref) is None:
        raise DatasetNotFoundError(
            "the version is not here", where=str(ref), remedy=f"`sap-llm data checkout {ref}` brings it back."
        )
    return ref
