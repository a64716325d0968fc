"""`sap-llm models`: what networks there are.

Belongs here: printing. Families, sizes and the counting are `modeling.backbones.registry`; models that were trained are
shown by `sap-llm status`.
"""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

console = Console()
commands = typer.Typer(no_args_is_help=True, help="The networks that a model can be trained from.")


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    app.add_typer(commands, name="models")


@commands.callback()
def _group() -> None:
    pass


@commands.command()
def backbones(
    family: Annotated[str | None, typer.Option(help="only this family")] = None,
) -> None:
    """List families and sizes with their parameters, counted, and the bytes of their weights by precision."""
    from sap_llm.modeling.backbones.registry import FAMILIES, PRECISIONS, entry
    from sap_llm.schema.errors import ConfigurationError

    if family is not None and family not in FAMILIES:
        raise ConfigurationError(f"no family {family!r}", where="--family", remedy=f"Known: {', '.join(FAMILIES)}.")
    table = Table()
    for head in ("backbone", "use", "parameters", *PRECISIONS):
        table.add_column(head, no_wrap=head != "use", justify="left" if head in ("backbone", "use") else "right")
    for name, known in FAMILIES.items():
        for size in known.shape.sizes if family in (None, name) else ():
            one = entry(name, size)
            sizes = (_bytes(one.weight_bytes(precision)) for precision in PRECISIONS)
            table.add_row(f"{name}/{size}", one.kind, f"{one.parameters:,}", *sizes)
    console.print(table)


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.2f} MB"
