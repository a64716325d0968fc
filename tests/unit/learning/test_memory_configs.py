"""Configuration and weight of the memory's stages: every profile fits, and importing them starts nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sap_llm.learning.promotion import RegisteredModelConfig
from sap_llm.learning.retraining import RetrainingConfig
from sap_llm.pmg.snapshot import PmgSnapshotConfig
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.storage.build import StageConfig

CONFIGS = Path(__file__).parents[3] / "configs"
STAGES: dict[str, type[StageConfig]] = {
    "pmg_snapshot": PmgSnapshotConfig,
    "registered_model": RegisteredModelConfig,
    "retraining": RetrainingConfig,
}
HEAVY = ("mlflow", "qdrant_client", "neo4j", "torch", "pandas", "dagster")


@pytest.mark.parametrize("profile", ["seconds", "tiny", "gpu", "cluster"])
@pytest.mark.parametrize("stage", STAGES)
def test_profiles_configure_the_memory(profile: str, stage: str) -> None:
    values = yaml.safe_load((CONFIGS / profile / f"{stage}.yaml").read_text())
    STAGES[stage].model_validate(values)
    assert set(values) == set(STAGES[stage].model_fields), "a profile names every key"


@pytest.mark.parametrize("profile", ["seconds", "tiny", "gpu", "cluster"])
def test_required_fields_are_of_the_taxonomy(profile: str) -> None:
    config = PmgSnapshotConfig.model_validate(yaml.safe_load((CONFIGS / profile / "pmg_snapshot.yaml").read_text()))
    taxonomy = load_taxonomy()
    for name, fields in config.required_fields.items():
        taxonomy.document_class(name)
        for field in fields:
            spec = taxonomy.field(field)
            assert spec.level == "header"
            assert not spec.classes or name in spec.classes, f"{field} cannot occur in {name}"


def test_importing_the_stages_imports_nothing_heavy() -> None:
    program = (
        "import sys; import sap_llm.learning.promotion, sap_llm.learning.retraining, sap_llm.pmg.snapshot; "
        "import sap_llm.graph.local_engine, sap_llm.registry.mlflow_registry; "
        f"found = [name for name in {HEAVY!r} if name in sys.modules]; assert not found, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=CONFIGS.parent)
