"""`sap-llm synthetic`: documents of the simulator as files, as a picture, and in numbers.

Belongs here: options, progress and printing. The documents come from the same functions as those of the stage
`synthetic_docs`, with the profile's values and the seed that is given, but of all classes and subtypes; nothing goes
into the store.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from sap_llm.cli.progress import progress_bar
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError

if TYPE_CHECKING:
    from sap_llm.synthetic.diversity import DiversityReport
    from sap_llm.synthetic.request import Request

console = Console()
DEFAULT_SEED = 1  # not that of the profiles, so that the documents are none of their corpora

commands = typer.Typer(no_args_is_help=True, help="Documents of the simulator: write files, look at pages, measure.")
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="a class that the simulator makes, e.g. purchase_order, may be repeated; all; trade documents by default",
        show_default=False,
    ),
]
Languages = Annotated[
    list[str] | None,
    typer.Option("--language", help="de | en | es | fr; may be repeated; all by default", show_default=False),
]
Seed = Annotated[int, typer.Option(help="same seed and profile, same bytes", min=0)]
Tier = Annotated[
    Literal["typeset", "volume", "mixed"] | None,
    typer.Option(
        help="by Typst, by direct PDF content, or layouts by each; the profile's by default", show_default=False
    ),
]
Workers = Annotated[
    int | None, typer.Option(help="processes; the profile's number by default", min=1, show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    app.add_typer(commands, name="synthetic")


@commands.command()
def generate(
    count: Annotated[int, typer.Option(help="number of documents", min=1)],
    out: Annotated[Path, typer.Option(help="an empty or new folder, or one to be continued")],
    types: Types = None,
    languages: Languages = None,
    seed: Seed = DEFAULT_SEED,
    tier: Tier = None,
    workers: Workers = None,
    test_layouts: Annotated[
        bool, typer.Option("--test-layouts", help="only layouts that no training set has; else none of them")
    ] = False,
) -> None:
    """Write documents as PDF with their truth as annotation JSON, and index.jsonl; run again to continue."""
    from sap_llm.synthetic.folder import INDEX, write_documents

    request = _request(types, languages, seed, workers, tier, test_layout_share=1.0 if test_layouts else 0.0)
    with progress_bar() as progress:
        written = write_documents(out, request, count=count, progress=progress)
    console.print(f"{count} documents, {written.made} made now, {written.kept} kept", highlight=False)
    if written.refused:
        console.print(f"{written.refused} more could not be typeset legibly; others took their place", highlight=False)
    typer.echo(out / INDEX)


@commands.command()
def preview(
    out: Annotated[Path, typer.Option(help="file to write: PNG, or JPEG where its name ends in .jpg")],
    types: Types = None,
    languages: Languages = None,
    seed: Seed = DEFAULT_SEED,
    count: Annotated[int, typer.Option(help="number of documents", min=1, max=60)] = 12,
    tier: Tier = None,
    damage: Annotated[
        str | None,
        typer.Option(help="preset of `sap-llm augment` that happens to the pages", show_default=False),
    ] = None,
    severity: Annotated[int, typer.Option(help="of the damage", min=1, max=5)] = 3,
    every: Annotated[int, typer.Option(help="damage only each n-th page", min=1)] = 1,
    width: Annotated[int | None, typer.Option(help="of the picture in pixels", min=100, show_default=False)] = None,
    workers: Workers = None,
) -> None:
    """Draw first pages with the true boxes of their fields on one sheet."""
    from sap_llm.augmentation.config import load_preset
    from sap_llm.synthetic.contact_sheet import contact_sheet

    request = _request(types, languages, seed, workers, tier)
    config = load_preset(damage, severity) if damage else None
    scratch = out.with_name(f"{out.name}.partial")
    try:
        scratch.touch()  # before the work: a wrong path should fail at once
        form: Literal["JPEG", "PNG"] = "JPEG" if out.suffix.lower() in (".jpg", ".jpeg") else "PNG"
        sheet = contact_sheet(request, count=count, damage=config, every=every, width=width, form=form)
        scratch.write_bytes(sheet)
        scratch.replace(out)
    except OSError as error:
        raise ConfigurationError(
            f"the sheet cannot be written ({error.strerror})", where=str(out), remedy="Name a PNG file in a folder."
        ) from error
    typer.echo(out)


@commands.command()
def diversity(
    types: Types = None,
    languages: Languages = None,
    seed: Seed = DEFAULT_SEED,
    count: Annotated[int, typer.Option(help="number of documents", min=2)] = 400,
    tier: Tier = None,
    workers: Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
) -> None:
    """Measure how different layouts, label words and places are, against sameness."""
    from sap_llm.synthetic.diversity import measure_diversity

    request = _request(types, languages, seed, workers, tier)
    with progress_bar() as progress:
        report = measure_diversity(request, count=count, progress=progress)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        _print(report)


def _request(
    types: Sequence[str] | None,
    languages: Sequence[str] | None,
    seed: int,
    workers: int | None,
    tier: str | None,
    *,
    test_layout_share: float | None = None,
) -> "Request":
    from sap_llm.synthetic.facts import BusinessFactsConfig
    from sap_llm.synthetic.request import Request, known_languages, known_types
    from sap_llm.synthetic.stage import SyntheticDocsConfig

    document_types, spoken = known_types(types or ()), known_languages(languages or ())
    deployment = Deployment.load()
    given = {"seed": seed, "workers": workers, "tier": tier, "test_layout_share": test_layout_share}
    return Request(
        facts=deployment.config(
            BusinessFactsConfig, "business_facts", {"seed": seed, "order_subtypes": {}, "invoice_subtypes": {}}
        ),
        documents=deployment.config(
            SyntheticDocsConfig,
            "synthetic_docs",
            {name: value for name, value in given.items() if value is not None},
        ),
        document_types=document_types,
        languages=spoken,
    )


def _print(report: "DiversityReport") -> None:
    kinds = ", ".join(f"{name.lower()} {number}" for name, number in report.document_types.items())
    spoken = ", ".join(f"{name} {number}" for name, number in report.languages.items())
    summary = Table("measure", "value")
    for name, value in (
        ("documents", f"{report.documents}: {kinds}"),
        ("languages", spoken),
        ("layouts", f"{report.layouts}, of them {report.test_layouts} reserved for tests"),
        ("titles missing or misleading", f"{report.untitled_share:.1%}"),
        ("4-grams of labels shared with the most alike layout", f"{report.sequence_overlap:.3f}"),
        ("4-grams of labels shared with any layout of the language", f"{report.sequence_overlap_mean:.3f}"),
        ("overlap of blocks with the most alike layout", f"{report.block_overlap:.3f}"),
        ("overlap of blocks with any layout", f"{report.block_overlap_mean:.3f}"),
        ("layouts that could not be typeset", f"{report.refused}"),
    ):
        summary.add_row(name, value)
    console.print(summary)
    found = {(spread.concept, spread.language): spread for spread in report.words}
    table = Table("concept", *report.languages, title="label words: how many (entropy in bits)")
    for concept in dict.fromkeys(spread.concept for spread in report.words):
        cells = [found.get((concept, language)) for language in report.languages]
        table.add_row(concept, *(f"{cell.distinct} ({cell.entropy_bits:.1f})" if cell else "" for cell in cells))
    console.print(table)
