"""Runs the demo and the command line as a person does: in processes of their own, in a home of their own."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("SAP_LLM_SHARED", CHECKOUT.parent / "shared"))
REAL_DOCUMENTS = SHARED / "data"


@dataclass(frozen=True)
class Home:
    """One home folder with its own Dagster instance, datasets, registry and graph."""

    folder: Path
    profile: str

    def run(self, *command: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run `python -m ...` there."""
        (self.folder / "dagster").mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / "dagster.yaml", self.folder / "dagster")
        variables = {
            "SAP_LLM_HOME": str(self.folder),
            "SAP_LLM_PROFILE": self.profile,
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "COLUMNS": "200",
        }
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=CHECKOUT,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def demo(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """`python -m sap_llm_dagster.demo`."""
        return self.run("sap_llm_dagster.demo", "--profile", self.profile, *arguments, timeout=timeout)

    def sap_llm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`sap-llm ...`."""
        return self.run("sap_llm.cli", *arguments)

    def report(self) -> dict[str, Any]:
        """What the demo wrote."""
        found: dict[str, Any] = json.loads((self.folder / "data/local/demo_report.json").read_text())
        return found
