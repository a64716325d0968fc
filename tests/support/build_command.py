"""`sap-llm build ...` as the tests of its commands run it."""

import typer
from typer.testing import CliRunner, Result

from sap_llm.cli import build


def run_build(*arguments: str) -> Result:
    """Run `sap-llm build` with arguments in this process."""
    app = typer.Typer()
    build.register(app)
    app.command("other")(lambda: None)  # a single group would be taken for the program itself
    return CliRunner().invoke(app, ["build", *arguments])
