"""Checks of the tree that no linter knows: `python tools/check_tree.py`, run by `make check`.

Belongs here: module length, names that this project must not use, packages without an import contract, profiles with
unequal keys. Style is ruff's business, imports are import-linter's, types are mypy's.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DEBT = "tools/length_debt.txt"
LIMIT_LINES = 400
ALLOWED = "tree: allowed"  # at the end of a line that must name a forbidden thing, e.g. a test that proves the trap

FORBIDDEN: dict[str, str] = {
    r"\bAutoMaterializePolicy\b": "use AutomationCondition",
    r"\bLegacyFreshnessPolicy\b|\bbuild_\w*freshness_checks\b": "use FreshnessPolicy",
    r"\bmulti_asset_sensor\b": "use asset sensors or AutomationCondition",
    r"\bSourceAsset\b": "use AssetSpec",
    r"\bMetadataEntry\b": "use MetadataValue",
    r"\bExpectationResult\b": "use AssetCheckResult",
    r"define_asset_job\([^)]*partitions_def\s*=": "the assets of a job bring their partitions",
    r"\bcontext\.(run_id|op_config|asset_partition_key_for_output)\b": "use context.run, typed config, partition_key",
    r"\bStepLauncher\b": "use Dagster Pipes",
    r"\b(execute_k8s_job|k8s_job_op)\b": "use a TrainJob with Dagster Pipes",
    r"\bcompute_kind\s*=": "use kinds=",
    r"@(dg\.|dagster\.)?repository\b": "use Definitions",
    r"\bload_assets_from_package": "name the modules in sap_llm_dagster/build.py",
    r"\b(transition_model_version_stage|archive_existing_versions)\b": "MLflow stages are gone: use aliases and tags",
    r"\b(auto_gptq|AutoGPTQ|AutoAWQ)\b": "use llmcompressor in its own environment",
    r"\btorch\.(ao\.)?quantization\b": "use onnxruntime.quantization",
    r"\bPyTorchJob\b": "use TrainJob",
    r"\btorch\.distributed\.launch\b": "use the deepspeed launcher",
    r"\bdagster (dev|asset materialize|definitions validate)\b": "use dg dev, dg launch, dg check defs",
    r"(?i)\bdagit\b": "use dagster-webserver",
    r"\b(files\.pythonhosted\.org|pypi\.org/simple|download\.pytorch\.org)\b": "no registry host in the tree",
    r"--(extra-)?index-url\b": "no registry host in the tree",
}
CLOCK = re.compile(r"\b(datetime\.(now|utcnow|today)|date\.today|pd\.Timestamp\.now)\(")
CLOCK_HOME = "sap_llm/schema/clock.py"
CODE_SUFFIXES = {".py", ".yaml", ".yml", ".toml", ".txt", ".cfg", ".sh", ".sql", ".json"}
CODE_NAMES = {"Makefile", "run", "Dockerfile"}
DEPLOYMENT = "deployment.yaml"  # names only the servers that a profile has, so its keys differ
OUTSIDE_CONTRACT = {"tests", "benchmarks", "tools"}


def tree_files(root: Path) -> list[Path]:
    """Files that are tracked, or new and not ignored; relative to `root`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [Path(name) for name in sorted(set(listed)) if (root / name).is_file()]


def long_modules(root: Path, files: list[Path]) -> Iterator[str]:
    """Modules over the limit, unless the debt list names them with exactly their length: it may only shrink."""
    debt: dict[str, int] = {}
    for line in (root / DEBT).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            listed, _, length = line.partition(" ")
            debt[listed] = int(length)
    lengths = {
        path.as_posix(): len((root / path).read_text(encoding="utf-8").splitlines())
        for path in files
        if path.suffix == ".py"
    }
    for name, count in lengths.items():
        if count > LIMIT_LINES and name not in debt:
            yield f"{name}: {count} lines, the limit is {LIMIT_LINES}; split it by what its parts are about"
        elif name in debt and count > debt[name]:
            yield f"{name}: grew from {debt[name]} to {count} lines; it is on the debt list and may only shrink"
        elif name in debt and LIMIT_LINES < count < debt[name]:
            yield f"{name}: shrank to {count} lines; write that number into {DEBT}"
    for name in debt:
        if lengths.get(name, 0) <= LIMIT_LINES:
            yield f"{name}: within the limit now; take it off {DEBT}"


def forbidden_names(root: Path, files: list[Path]) -> Iterator[str]:
    """Lines that use something superseded, and calls of the clock outside its home."""
    patterns = [(re.compile(pattern), remedy) for pattern, remedy in FORBIDDEN.items()]
    for path in files:
        if path.suffix not in CODE_SUFFIXES and path.name not in CODE_NAMES:
            continue
        if path.as_posix() in {"tools/check_tree.py", "tests/unit/tools/test_check_tree.py"}:
            continue
        for number, line in enumerate((root / path).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if line.rstrip().endswith(ALLOWED):
                continue
            for pattern, remedy in patterns:
                if pattern.search(line):
                    yield f"{path}:{number}: forbidden: {line.strip()[:80]} ({remedy})"
            if path.parts[0] == "sap_llm" and path.as_posix() != CLOCK_HOME and CLOCK.search(line):
                yield f"{path}:{number}: take the time from the context's clock: {line.strip()[:80]}"


def uncontracted_packages(root: Path, files: list[Path]) -> Iterator[str]:
    """Packages on disk that no import contract covers."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    roots = set(settings["root_packages"])
    domain = next(contract for contract in settings["contracts"] if contract["id"] == "domain")
    rooms = {room.strip(" ()") for layer in domain["layers"] for room in layer.split("|")}
    python = [path for path in files if path.suffix == ".py" and len(path.parts) > 1]
    for package in sorted({path.parts[0] for path in python} - roots - OUTSIDE_CONTRACT):
        yield f"{package}/: in no import contract; add it to [tool.importlinter] in pyproject.toml"
    domain_files = [path for path in python if path.parts[0] == "sap_llm" and path.parts[1] != "__init__.py"]
    found = {path.parts[1].removesuffix(".py") for path in domain_files}
    for room in sorted(found - rooms):
        yield f"sap_llm/{room}: in no layer; add it to the domain contract in pyproject.toml"


def uneven_profiles(root: Path, files: list[Path]) -> Iterator[str]:
    """Configuration files whose keys differ between profiles; what is below a key may be a free map."""
    keys: dict[str, dict[str, set[str]]] = {}
    profiles = {path.parts[1] for path in files if path.parts[0] == "configs" and len(path.parts) > 2}
    for path in files:
        if path.parts[0] == "configs" and path.suffix == ".yaml" and path.name != DEPLOYMENT:
            content = yaml.safe_load((root / path).read_text(encoding="utf-8")) or {}
            keys.setdefault(path.name, {})[path.parts[1]] = set(content)
    for name, by_profile in sorted(keys.items()):
        for missing in sorted(profiles - set(by_profile)):
            yield f"configs/{missing}/{name}: missing, other profiles have it"
        union = set().union(*by_profile.values())
        for profile, found in sorted(by_profile.items()):
            if found != union:
                yield f"configs/{profile}/{name}: lacks {', '.join(sorted(union - found))}"


def problems(root: Path = ROOT) -> list[str]:
    """Everything wrong with the tree, one sentence each."""
    files = tree_files(root)
    checks = (long_modules, forbidden_names, uncontracted_packages, uneven_profiles)
    return [problem for check in checks for problem in check(root, files)]


def main() -> int:
    """Print the problems; 1 if there are any."""
    found = problems()
    print("\n".join(found) if found else "tree: in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
