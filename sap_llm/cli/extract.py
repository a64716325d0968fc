"""`sap-llm extract`: one document in, class and fields out, by the champion model or the released one."""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sap_llm.schema.errors import UnreadableDocumentError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(name="extract")(extract)


def extract(
    file: Annotated[
        Path,
        typer.Argument(help="PDF, image (needs the ocr extra) or text file", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print the annotation JSON instead of tables")] = False,
    max_pages: Annotated[int, typer.Option(help="read at most this many pages", min=1)] = 50,
) -> None:
    """Read one document with the champion model (the released one before there is any); print class and fields."""
    from sap_llm.deployment import Deployment
    from sap_llm.learning.promotion import champion_to_serve
    from sap_llm.modeling.released_model import newest_released, released_folder
    from sap_llm.schema.document import DocumentForm

    content = _content(file)  # before anything heavy: a wrong file should fail at once
    deployment = Deployment.load()
    champion = champion_to_serve(deployment.store, deployment.registry, deployment.verdicts, consumer="extract")
    if champion is None:
        version = newest_released()
        folder = released_folder(version)
    else:
        version, folder = champion.version, champion.folder

    from sap_llm.reading.sandbox import read_in_sandbox

    read = read_in_sandbox(content, name=file.name, max_pages=max_pages)

    from sap_llm.modeling.runtimes import load_predictor

    prediction = load_predictor(folder).predict(read.pages)
    digest = hashlib.sha256(content).hexdigest()
    row = prediction.to_row(
        document_id=f"doc-{uuid.uuid5(uuid.NAMESPACE_URL, digest)}",
        annotator=f"model:{version}",
        created_at=deployment.clock.now(),
    )
    sizes = [(page.width, page.height) for page in read.pages]
    about = {
        "file": file.name,
        "sha256": digest,
        "model_version": version,
        "notes": list(read.notes),
    }
    form = DocumentForm.from_row(row, page_sizes=sizes, pages=read.pages, metadata=about)
    if as_json:
        typer.echo(json.dumps(form.model_dump(mode="json"), indent=2, ensure_ascii=False))
    else:
        _print(file, row, read.notes, version)


def _content(file: Path) -> bytes:
    if not file.exists():
        raise UnreadableDocumentError("no such file", where=str(file), remedy="Check the path.")
    if file.is_dir():
        raise UnreadableDocumentError("this is a folder", where=str(file), remedy="Name one document in it.")
    return file.read_bytes()


def _print(file: Path, row: dict[str, Any], notes: tuple[str, ...], version: str) -> None:
    console = Console()
    subtype = f" · {row['document_subtype']}" if row.get("document_subtype") else ""
    console.print(
        f"[bold]{row['document_type']}[/bold]{subtype}   confidence {row['type_confidence']:.2f}   "
        f"{file.name}   model {version}"
    )
    for note in notes:
        console.print(f"[yellow]note[/yellow] {note}")
    table = Table("field", "value", "printed", "page", "box (points)", "confidence")
    for field in row["fields"]:
        box = "" if field["box"] is None else " ".join(f"{edge:.0f}" for edge in field["box"])
        page = "" if field["page"] is None else str(field["page"])
        printed = field["printed"] or ""
        table.add_row(
            field["field"],
            field["value"],
            printed,
            page,
            box,
            f"{field['confidence']:.2f}",
        )
    console.print(table if row["fields"] else "no fields found")
    if row["line_items"]:
        columns = list(dict.fromkeys(field["field"] for item in row["line_items"] for field in item["fields"]))
        lines = Table(
            *(["#"] + [name.removeprefix("line_") for name in columns]),
            title="line items",
        )
        for item in row["line_items"]:
            values = {field["field"]: field["value"] or "" for field in item["fields"]}
            lines.add_row(str(item["line_number"]), *(values.get(name, "") for name in columns))
        console.print(lines)
