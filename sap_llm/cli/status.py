"""`sap-llm status`: which dataset versions exist here, and which model is the champion."""

import typer
from rich.console import Console
from rich.table import Table


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(name="status")(status)


def status() -> None:
    """Show the current dataset versions with their rows, and the champion model."""
    from sap_llm.deployment import Deployment
    from sap_llm.modeling.released_model import newest_released

    deployment = Deployment.load()
    console = Console()
    names = deployment.store.names()
    if not names:
        console.print(
            f"nothing built yet in {deployment.store.root_url}; run `make demo`, or materialise in `make dev`"
        )
        return
    table = Table(
        "dataset",
        "version",
        "built (UTC)",
        "rows",
        title=f"profile {deployment.profile}",
    )
    for name in names:
        manifest = deployment.store.open(deployment.store.current(name)).manifest
        rows = ", ".join(f"{table_name} {count:,}" for table_name, count in manifest.rows.items())
        table.add_row(name, manifest.version, f"{manifest.created_at:%Y-%m-%d %H:%M}", rows)
    console.print(table)
    champion = deployment.registry.champion()
    if champion:
        console.print(f"champion: version {champion.version} in {champion.folder}")
    else:
        console.print(f"champion: none yet; `sap-llm extract` reads with the released {newest_released()}")
