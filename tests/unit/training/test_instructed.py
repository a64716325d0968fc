"""The stage of instruction without its program: what it refuses, and what the memory planner is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sap_llm.schema.errors import ConfigurationError, DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter
from sap_llm.training.instructed import INSTRUCTED_MODEL, InstructedModelConfig
from sap_llm.training.memory import plan_memory
from sap_llm.training.stage import make_plan

CONFIGS = Path(__file__).parents[3] / "configs"
CONFIG = InstructedModelConfig.model_validate({"launch": {"launcher": "gloo"}})
CARD_BYTES = 80e9  # of an H100


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def dataset(context: StageContext, name: str, *, pairs: int = 0, file: str = "") -> DatasetRef:
    def produce(writer: DatasetWriter) -> dict[str, Any]:
        if file:
            writer.path(file).write_text("{}")
        return {"pairs_train": pairs}

    return build(context, name=name, stage_version=f"{pairs}{file}", config=StageConfig(), produce=produce).ref


def planned(context: StageContext, *, pairs: DatasetRef, base: DatasetRef) -> Any:
    inputs = {"instruction_pairs": pairs, "domain_model": base}
    return make_plan(context, INSTRUCTED_MODEL, config=CONFIG, inputs=inputs, partition="r1")


def test_it_wants_pairs_to_learn_from_and_a_model_that_reads_on(context: StageContext) -> None:
    pairs = dataset(context, "instruction_pairs/r1", pairs=8)
    base = dataset(context, "domain_model/r1", file="model/config.json")
    assert planned(context, pairs=pairs, base=base).input_path("domain_model", "model").is_dir()
    with pytest.raises(ConfigurationError, match="no instruction pair"):
        planned(context, pairs=dataset(context, "instruction_pairs/r1"), base=base)
    with pytest.raises(ConfigurationError, match="domain_model"):
        planned(context, pairs=pairs, base=dataset(context, "domain_model/r1", file="notes.txt"))
    with pytest.raises(DatasetNotFoundError, match="domain_model"):
        planned(context, pairs=pairs, base=DatasetRef(name="domain_model/r1", version="absent"))


@pytest.mark.parametrize("profile", ["gpu", "cluster"])
def test_the_large_profiles_fit_their_cards_at_the_roadmaps_batch(profile: str) -> None:
    values = yaml.safe_load((CONFIGS / profile / "instructed_model.yaml").read_text())
    config = InstructedModelConfig.model_validate(values)
    assert INSTRUCTED_MODEL.workload is not None
    shares, workload = INSTRUCTED_MODEL.workload(config, 0)
    assert shares.effective == 256
    plan = plan_memory(workload, config.launch, is_sharded=True, accumulation=shares.accumulation)
    assert plan.fits(CARD_BYTES), plan.table(CARD_BYTES)


def test_the_largest_model_fits_sixteen_cards_with_its_states_in_host_memory_only() -> None:
    values = yaml.safe_load((CONFIGS / "cluster" / "instructed_model.yaml").read_text())
    launch = values["launch"] | {"micro_batch": 1}
    fits = {}
    for place in ("cpu", "none"):
        config = InstructedModelConfig.model_validate(
            values | {"size": "72b", "launch": launch | {"offload_optimizer": place}}
        )
        assert INSTRUCTED_MODEL.workload is not None
        shares, workload = INSTRUCTED_MODEL.workload(config, 0)
        plan = plan_memory(workload, config.launch, is_sharded=True, accumulation=shares.accumulation)
        fits[place] = plan.fits(CARD_BYTES)
    assert fits == {"cpu": True, "none": False}
