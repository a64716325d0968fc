"""`sap-llm seed`: a local QorSync source for people who have none, made from synthetic worlds of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.build import Progress, silent

if TYPE_CHECKING:
    from sap_llm.sources.qorsync_seed import Seeded

SEED_MONTHS = 3  # documents are spread over that many, from the profile's first month on
SEED_WORLDS = "9000-9019"  # far from the profiles' seed ranges, so that no document is in the corpus twice


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(name="seed")(seed)


def seed(
    worlds: Annotated[str, typer.Option(help="world numbers, both ends included")] = SEED_WORLDS,
    limit: Annotated[int, typer.Option(help="documents taken; 0 for all", min=0)] = 0,
) -> None:
    """Make a local QorSync: headers in SQLite, extractions as BSON, patterns in the graph, files, planted faults."""
    seeded = seed_source(Deployment.load(), worlds=worlds, limit=limit)
    Console().print(describe(seeded))


def seed_source(
    deployment: Deployment, *, worlds: str = SEED_WORLDS, limit: int = 0, progress: Progress = silent
) -> "Seeded":
    """Typeset the worlds and write them as the QorSync source that the profile names.

    Raises:
        ConfigurationError: The profile names servers; only a local source is ever overwritten.
    """
    from sap_llm.sources.qorsync_headers import months_from
    from sap_llm.sources.qorsync_seed import DUMP_FOLDER, HEADERS_FILE, seed_qorsync
    from sap_llm.synthetic.facts import BusinessFactsConfig, build_business_facts
    from sap_llm.synthetic.stage import SyntheticDocsConfig, build_synthetic_docs

    folder = Path(deployment.path(deployment.settings.relational)).parent
    expected = {str(folder / HEADERS_FILE), str(folder / DUMP_FOLDER)}
    named = {deployment.path(deployment.settings.relational), deployment.path(deployment.settings.documents)}
    if named != expected:
        raise ConfigurationError(
            "the QorSync source of this profile is not a local one",
            where=f"profile {deployment.profile}",
            remedy="Seed with a profile such as tiny.",
        )
    months = months_from(deployment.first_month, SEED_MONTHS)
    context = deployment.context(progress)
    facts = build_business_facts(
        context, config=deployment.config(BusinessFactsConfig, "business_facts"), seed_range=worlds
    )
    documents = build_synthetic_docs(
        context,
        config=deployment.config(SyntheticDocsConfig, "synthetic_docs"),
        facts=facts.ref,
        seed_range=worlds,
    )
    with deployment.graph() as graph:
        return seed_qorsync(folder, dataset=documents.dataset, graph=graph, months=months, limit=limit)


def describe(seeded: "Seeded") -> str:
    """One sentence about what was written."""
    planted = ", ".join(f"{reason} {count}" for reason, count in seeded.planted.items()) or "none"
    return (
        f"{seeded.headers} headers, {seeded.extractions} extractions, {seeded.patterns} patterns in "
        f"{seeded.relational.parent}; planted faults: {planted}"
    )
