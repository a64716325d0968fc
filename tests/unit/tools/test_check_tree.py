"""The tree checker finds what it is for, and finds nothing in this tree."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools import check_tree

PYPROJECT = """
[tool.importlinter]
root_packages = ["sap_llm", "assets"]
[[tool.importlinter.contracts]]
id = "domain"
layers = ["(cli)", "(pmg) | (sources)", "(schema)"]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    def write(contents: dict[str, str]) -> Path:
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        for name, text in ({"pyproject.toml": PYPROJECT, check_tree.DEBT: ""} | contents).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def found(check: Callable[[Path, list[Path]], Iterator[str]], root: Path) -> list[str]:
    return list(check(root, check_tree.tree_files(root)))


def test_this_tree_is_in_order() -> None:
    assert check_tree.problems() == []


def test_long_module_is_reported(tree: Callable[[dict[str, str]], Path]) -> None:
    root = tree({"sap_llm/schema/a.py": "x = 1\n" * 401, "sap_llm/schema/b.py": "x = 1\n" * 400})
    assert [problem.split(":")[0] for problem in found(check_tree.long_modules, root)] == ["sap_llm/schema/a.py"]


@pytest.mark.parametrize(
    ("recorded", "said"), [(450, ""), (449, "grew"), (460, "write that number"), (0, "grew")], ids=str
)
def test_debt_may_only_shrink(tree: Callable[[dict[str, str]], Path], recorded: int, said: str) -> None:
    root = tree({"assets/a.py": "x = 1\n" * 450, check_tree.DEBT: f"assets/a.py {recorded}\n"})
    problems = found(check_tree.long_modules, root)
    assert len(problems) == bool(said)
    assert all(said in problem for problem in problems)


def test_paid_debt_must_leave_the_list(tree: Callable[[dict[str, str]], Path]) -> None:
    root = tree({"assets/a.py": "x = 1\n", check_tree.DEBT: "assets/a.py 450\nassets/gone.py 500\n"})
    assert len(found(check_tree.long_modules, root)) == 2


@pytest.mark.parametrize(
    "line",
    [
        "policy = AutoMaterializePolicy.eager()",
        "@dg.repository",
        '@dg.asset(compute_kind="python")',
        "job = define_asset_job('x', partitions_def=days)",
        "key = context.asset_partition_key_for_output()",
        "model = torch.quantization.quantize_dynamic(model)",
        "model = torch.ao.quantization.quantize_dynamic(model)",
        "command = 'python -m torch.distributed.launch'",
        "client.transition_model_version_stage('m', 1, 'Production')",
    ],
)
def test_superseded_names_are_reported(tree: Callable[[dict[str, str]], Path], line: str) -> None:
    root = tree({"assets/a.py": f"{line}\n", "assets/b.py": f"{line}  # tree: allowed\n"})
    assert [problem.split(":")[0] for problem in found(check_tree.forbidden_names, root)] == ["assets/a.py"]


@pytest.mark.parametrize(
    "line",
    [
        "from onnxruntime.quantization import quantize_dynamic",
        "import torch.distributed.launcher",
        "@dg.multi_asset",
        "spec = dg.AssetSpec('qorsync')",
        "run = context.run.run_id",
    ],
)
def test_current_names_pass(tree: Callable[[dict[str, str]], Path], line: str) -> None:
    assert found(check_tree.forbidden_names, tree({"assets/a.py": f"{line}\n"})) == []


def test_only_the_clock_reads_the_time(tree: Callable[[dict[str, str]], Path]) -> None:
    now = "moment = datetime.now(tz=UTC)\n"
    root = tree({"sap_llm/pmg/a.py": now, "sap_llm/schema/clock.py": now, "tests/unit/a.py": now})
    assert [problem.split(":")[0] for problem in found(check_tree.forbidden_names, root)] == ["sap_llm/pmg/a.py"]


def test_package_without_contract_is_reported(tree: Callable[[dict[str, str]], Path]) -> None:
    names = ["sap_llm/__init__.py", "sap_llm/pmg/a.py", "sap_llm/attic/a.py", "sap_llm/cli.py", "extra/a.py"]
    root = tree(dict.fromkeys(names, ""))
    problems = found(check_tree.uncontracted_packages, root)
    assert [problem.split(":")[0] for problem in problems] == ["extra/", "sap_llm/attic"]


def test_profiles_must_have_the_same_keys(tree: Callable[[dict[str, str]], Path]) -> None:
    root = tree(
        {
            "configs/tiny/model.yaml": "width: 1\nencoder: {depth: 1}\nsteps: 3\n",
            "configs/gpu/model.yaml": "width: 2\nencoder: {}\n",
            "configs/gpu/pmg.yaml": "size: 2\n",
            "configs/tiny/deployment.yaml": "storage: data\n",
            "configs/gpu/deployment.yaml": "storage: data\ngraph: bolt\n",
        }
    )
    assert found(check_tree.uneven_profiles, root) == [
        "configs/gpu/model.yaml: lacks steps",
        "configs/tiny/pmg.yaml: missing, other profiles have it",
    ]
