"""`make demo`: the whole lineage in one process on embedded defaults, with a table at the end.

Belongs here: the order of the demonstration. Runs are `local_run`, the report is `demo_report`, what each asset does is
its stage. Nothing here is special to the demo: the same runs can be launched in the UI over the same instance.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sap_llm.schema.errors import ConfigurationError, SapLlmError

if TYPE_CHECKING:
    from sap_llm_dagster.local_run import PlannedRun, RunOutcome

console = Console(highlight=False, width=max(120, Console().width))
REPORT = "data/local/demo_report.json"


def demo(
    profile: Annotated[str, typer.Option(help="configs/<profile>")] = "tiny",
    documents: Annotated[Path | None, typer.Option(help="folder of public corpora (SROIE, ZUGFeRD, ...)")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="one line per asset, no progress")] = False,
) -> None:
    """Run the lineage from sources to memory and print what came out."""
    started = time.monotonic()
    os.environ["SAP_LLM_PROFILE"] = profile
    if documents is not None:
        if not documents.is_dir():
            raise ConfigurationError("no such folder", where=str(documents), remedy="Name the folder of the corpora.")
        os.environ["SAP_LLM_DOCUMENTS"] = str(documents.resolve())
    Demo(profile, is_quiet=quiet).run(started)


class Demo:
    """One run of the demonstration."""

    def __init__(self, profile: str, *, is_quiet: bool) -> None:
        from sap_llm.deployment import Deployment
        from sap_llm.storage.partitions import PARTITIONS, PartitionsConfig
        from sap_llm_dagster.build import build_defs
        from sap_llm_dagster.home import open_instance

        self.deployment = Deployment.load(profile)
        self.partitions = self.deployment.config(PartitionsConfig, PARTITIONS)
        self.instance = open_instance()
        self.defs = build_defs(deployment=profile)
        self.is_quiet = is_quiet
        self.outcomes: list[RunOutcome] = []

    def run(self, started: float) -> None:
        """All runs in order, then the report as JSON and as a table."""
        from jobs.lineage import EXPORT_SOURCES
        from sap_llm_dagster.demo_report import build_report, print_report
        from sap_llm_dagster.local_run import PlannedRun, plan_release, plan_sources

        corpora = self._corpora()
        console.print(
            f"profile {self.deployment.profile}; real documents: {', '.join(corpora) or 'none (DOCUMENTS=<folder>)'}"
        )
        self._run(plan_sources(self.partitions, corpora=corpora, has_sap_metadata=self._has_sap_metadata()))
        if not self.deployment.has_qorsync:
            self._seed_qorsync()
        self._run([PlannedRun(job=EXPORT_SOURCES, partition=month) for month in self._months()])
        release = self._release_name()
        self._run(plan_release(self.partitions, release))
        self._run([PlannedRun(job="commit_to_dvc")])
        report = build_report(self.deployment, self.outcomes, release=release, seconds=time.monotonic() - started)
        target = self.deployment.home / REPORT
        target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print_report(console, report, where=REPORT)

    def _run(self, plan: "Sequence[PlannedRun]") -> None:
        from sap_llm_dagster.local_run import run_all

        for outcome in run_all(self.defs, self.instance, plan, on_start=_announce, is_quiet=self.is_quiet):
            self.outcomes.append(outcome)
            for asset in outcome.assets:
                said = "reused, up to date" if asset.is_reused else f"built in {asset.seconds:.1f} s"
                console.print(f"[green]✓[/green] {asset.asset:<18} {said}")
            if not outcome.is_success:
                raise SapLlmError(outcome.failure, where=outcome.job, remedy="`make dev` shows the run with its logs.")

    def _corpora(self) -> list[str]:
        from sap_llm.sources.public import available_corpora

        folder = self.deployment.documents_folder
        found = available_corpora(folder) if folder is not None else []
        return [name for name in self.partitions.corpora if name in found]

    def _has_sap_metadata(self) -> bool:
        from sap_llm.sources.knowledge import available_metadata

        folder = self.deployment.documents_folder
        return folder is not None and bool(available_metadata(folder))

    def _seed_qorsync(self) -> None:
        """A QorSync source of our own making, from the first worlds, since a newcomer has none."""
        from sap_llm.cli.seed import describe, seed_source

        console.print("[bold]seed[/bold] a local QorSync (SQLite, BSON dump, graph) from worlds of its own")
        console.print(f"  {describe(seed_source(self.deployment))}")

    def _months(self) -> list[str]:
        """Months of QorSync that hold rows; the seeded ones are long finished."""
        months = self.deployment.qorsync_months()
        return [state.month for state in months if state.month >= self.partitions.first_month]

    def _release_name(self) -> str:
        """Named after what goes into it: the same documents are the same release, others open another."""
        store = self.deployment.store
        names = [name for name in store.names() if name.partition("/")[0] in _CORPORA]
        versions = [f"{name}:{store.open(store.current(name)).manifest.data_version}" for name in names]
        return f"demo-{hashlib.sha256('|'.join(versions).encode()).hexdigest()[:6]}"


_CORPORA = ("raw_exports", "public_docs", "synthetic_docs")


def _announce(planned: "PlannedRun") -> None:
    partition = planned.partition
    key = (
        partition
        if isinstance(partition, str)
        else "|".join(value if isinstance(value, str) else "...".join(value) for value in partition.values())
        if partition
        else ""
    )
    console.print(f"[bold]{planned.job}[/bold] {key}")


def main() -> None:
    """Entry point: errors for users become one sentence."""
    try:
        typer.run(demo)
    except SapLlmError as error:
        console.print("[bold red]demo stopped[/bold red]")
        console.print(str(error), markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
