"""Where Dagster keeps runs and events on this machine, and how to open it.

Belongs here: preparing DAGSTER_HOME from the repository's `dagster.yaml`. What the settings mean stands there.
`python -m sap_llm_dagster.home` prepares it and prints the path, for shells.
"""

import os
from pathlib import Path

import dagster as dg

from sap_llm.deployment import home_folder

SETTINGS = Path(__file__).parent.parent / "dagster.yaml"
_VARIABLE = "DAGSTER_HOME"


def prepare_home(folder: Path | None = None) -> Path:
    """Make DAGSTER_HOME (the given folder, the variable's, or `data/local/dagster`) with current settings in it."""
    named = os.environ.get(_VARIABLE)
    home = (folder or (Path(named) if named else home_folder() / "data" / "local" / "dagster")).resolve()
    home.mkdir(parents=True, exist_ok=True)
    target, text = home / SETTINGS.name, SETTINGS.read_text(encoding="utf-8")
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        scratch = target.with_name(f".{target.name}.{os.getpid()}")
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(target)
    os.environ[_VARIABLE] = str(home)
    return home


def open_instance(folder: Path | None = None) -> dg.DagsterInstance:
    """The persistent instance that `dg dev` shows as well. Use it as a context manager."""
    prepare_home(folder)
    return dg.DagsterInstance.get()


if __name__ == "__main__":
    print(prepare_home())
