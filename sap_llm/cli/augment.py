"""`sap-llm augment`: damaged copies of a folder of documents, as pictures with boxes and quads.

Belongs here: options, progress and printing. What is written and how it is continued is `synthetic.damaged_folder`; the
presets are those of `augmentation`.
"""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sap_llm.cli.progress import progress_bar

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(augment)


def augment(
    source: Annotated[Path, typer.Option("--in", help="folder that `sap-llm synthetic generate` has finished")],
    out: Annotated[Path, typer.Option(help="an empty or new folder, or one to be continued")],
    preset: Annotated[str, typer.Option(help="office_scan | fax | phone_photo | archive | roadmap")] = "office_scan",
    severity: Annotated[int, typer.Option(help="1 is hardly damaged, 5 hardly readable", min=1, max=5)] = 3,
    copies: Annotated[int, typer.Option(help="damaged copies of each document", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="same seed and source, same bytes", min=0)] = 1,
    dots_per_inch: Annotated[int, typer.Option("--dpi", help="of the pictures", min=50, max=600)] = 150,
    workers: Annotated[
        int | None, typer.Option(help="processes; one a core by default", min=1, show_default=False)
    ] = None,
) -> None:
    """Write damaged copies as PNG or JPEG, each with its truth as JSON, and index.jsonl; run again to continue."""
    from sap_llm.synthetic.damaged_folder import DamageRequest, damage_folder
    from sap_llm.synthetic.folder import INDEX

    request = DamageRequest(preset=preset, severity=severity, copies=copies, seed=seed, dots_per_inch=dots_per_inch)
    with progress_bar() as progress:
        done = damage_folder(source, out, request, workers=workers or os.cpu_count() or 1, progress=progress)
    console.print(f"{done.made + done.kept} copies, {done.made} made now, {done.kept} kept", highlight=False)
    typer.echo(out / INDEX)
