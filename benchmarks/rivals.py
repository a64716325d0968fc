"""Virtual environments of rivals, which are no dependency of the project.

Belongs here: making such an environment on demand. What a rival is asked to do stands in the benchmark's own module.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sap_llm.schema.errors import MissingToolError

FOLDER = Path(__file__).parent.parent / ".venvs"


def rival_python(name: str, packages: Sequence[str], *, check: str, hint: str = "") -> Path:
    """The interpreter of a rival's environment, made if it is not there.

    Args:
        name: Of the environment's folder below `.venvs`.
        packages: Requirements.
        check: Statement that must run in it.
        hint: What it needs besides a package index.

    Raises:
        MissingToolError: It cannot be made.
    """
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    uv = shutil.which("uv")
    if uv is None:
        raise MissingToolError("uv is not installed", where=f"benchmark {name}", remedy="Install uv, it makes .venvs.")
    steps = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), *packages],
        [str(python), "-c", check],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingToolError(
                f"the rival cannot be installed: {done.stderr.strip()[-300:]}",
                where=" ".join(step[:3]),
                remedy=f"It needs a package index{hint}.",
            )
    (folder / "ready").touch()
    return python
