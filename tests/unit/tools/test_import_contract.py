"""The import contract bites: a skeleton of this project passes, and each kind of wrong import breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = (
    "schema storage graph registry reading augmentation evaluation modeling pmg sources synthetic preparation training"
).split()
PACKAGES = ("sap_llm_dagster", "sensors", "jobs", "assets", "resources", "spark_jobs")
GOOD = {
    "sap_llm/deployment.py": "from sap_llm.training import a\n",
    "sap_llm/training/a.py": "from sap_llm.preparation import a\nfrom sap_llm.schema import b\n",
    "sap_llm/schema/b.py": "from dagster_pipes import PipesContext\n",
    "assets/training.py": "import dagster\n\nfrom assets import launch\nfrom sap_llm.training import a\n",
    "assets/launch.py": "import resources\n",
    "assets/sources.py": "",
    "sap_llm_dagster/build.py": "import assets.sources\nimport sensors\n",
    "spark_jobs/a.py": "from sap_llm.preparation import a\n",
}


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    empty = [*(f"sap_llm/{room}/__init__.py" for room in ROOMS), *(f"sap_llm/{room}/a.py" for room in ROOMS)]
    roots = [f"{package}/__init__.py" for package in ("sap_llm", *PACKAGES)]
    for name, text in (dict.fromkeys([*roots, *empty], "") | GOOD).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def broken_contracts(root: Path) -> list[str]:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [program, "--no-cache"], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    return [line for line in result.stdout.splitlines() if "BROKEN" in line] if result.returncode else []


def test_the_skeleton_keeps_the_contract(skeleton: Path) -> None:
    assert broken_contracts(skeleton) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("sap_llm/storage/a.py", "from sap_llm.training import a"),
        ("sap_llm/sources/a.py", "from sap_llm.synthetic import a"),
        ("sap_llm/augmentation/a.py", "from sap_llm.reading import a"),
        ("sap_llm/augmentation/a.py", "from sap_llm.synthetic import a"),
        ("sap_llm/modeling/a.py", "import dagster"),
        ("spark_jobs/a.py", "import dagster"),
        ("sap_llm/registry/a.py", "from sap_llm import deployment"),
        ("sap_llm/deployment.py", "import resources"),
        ("resources/a.py", "import assets"),
        ("jobs/a.py", "import sensors"),
        ("assets/sources.py", "from assets import training"),
        ("sap_llm/attic.py", "x = 1"),
    ],
)
def test_a_wrong_import_breaks_it(skeleton: Path, module: str, line: str) -> None:
    (skeleton / module).write_text(f"{line}\n")
    assert len(broken_contracts(skeleton)) == 1
