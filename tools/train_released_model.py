"""Recipe of the released model: the compact encoder of the gpu profile, trained on the endless synthetic stream.

Belongs here: what `multitask_model` gets from a training set when it runs in the lineage, made by hand for a machine
that has a GPU and nothing else: documents of reserved layouts to validate on, and the plan. The training is
`sap_llm.training.program`, as everywhere. Weights come out as half-precision shards of at most 16 MiB.

    python tools/train_released_model.py --work WORK --out OUT [steps=14000 launch.ranks=1 ...]

Run it again with the same --work to go on from the newest checkpoint.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import load_file, save_file

from sap_llm.modeling.shards import encode_shard
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.synthetic.stream import documents_of_worlds
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.launch import run
from sap_llm.training.multitask import MULTITASK_MODEL, TRAINING_SET
from sap_llm.training.plan import TrainingPlan

_VALIDATION_SEED = 2007
_SHARD_BYTES = 15 * 2**20


def main() -> None:
    """Train, or go on training, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="checkpoints; the same to go on")
    parser.add_argument("--out", type=Path, required=True, help="receives the model folder")
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--worlds", type=int, default=24, help="worlds to validate on")
    parser.add_argument("overrides", nargs="*", help="dotted values of configs/<profile>/multitask_model.yaml")
    arguments = parser.parse_args()
    config = _config(arguments.profile, arguments.overrides)
    shards = arguments.work / "training_set" / "shards.parquet"
    if not shards.exists():
        shards.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        pq.write_table(_validation(config, arguments.worlds), shards)
        print(f"validation documents made in {time.monotonic() - began:.0f} s", flush=True)
    plan = TrainingPlan[MultitaskModelConfig](
        stage=MULTITASK_MODEL.name,
        program=MULTITASK_MODEL.program,
        name=f"{MULTITASK_MODEL.name}/released",
        version="released",
        inputs={TRAINING_SET: DatasetRef(name=f"{TRAINING_SET}/released", version="released")},
        folders={TRAINING_SET: str(shards.parent.resolve())},
        work=str((arguments.work / "run").resolve()),
        backend="gloo",
        backend_reason="one rank",
        taxonomy_version=taxonomy_version(),
        config=config,
    )
    Path(plan.work).mkdir(parents=True, exist_ok=True)
    run(plan)
    _write(plan, arguments.out)


def _config(profile: str, overrides: list[str]) -> MultitaskModelConfig:
    text = Path(__file__).parents[1].joinpath("configs", profile, "multitask_model.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text)
    for override in overrides:
        path, _, value = override.partition("=")
        *parents, last = path.split(".")
        place = values
        for name in parents:
            place = place[name]
        place[last] = yaml.safe_load(value)
    return MultitaskModelConfig.model_validate(values)


def _validation(config: MultitaskModelConfig, worlds: int) -> pa.Table:
    """A shard of documents of other worlds in layouts that no training document has."""
    assert config.stream is not None, "the profile has no stream"
    facts = config.stream.facts.model_copy(update={"seed": _VALIDATION_SEED})
    documents = config.stream.documents.model_copy(update={"seed": _VALIDATION_SEED, "test_layout_share": 1.0})
    tables = documents_of_worlds(range(worlds), facts, documents)
    rows = tables["documents"].append_column("split", pa.array(["validation"] * tables["documents"].num_rows))
    return encode_shard(rows, tables["pages"], tables["annotations"])


def _write(plan: TrainingPlan[MultitaskModelConfig], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.astype(np.float16) for name, value in load_file(plan.result / "model/model.safetensors").items()
    }
    parts: list[dict[str, Any]] = [{}]
    for name, value in weights.items():
        if sum(one.nbytes for one in parts[-1].values()) + value.nbytes > _SHARD_BYTES:
            parts.append({})
        parts[-1][name] = value
    for number, part in enumerate(parts):
        save_file(part, out / f"model-{number}.safetensors")
    for name in ("model/config.json", "metrics.json", "losses.json"):
        (out / Path(name).name).write_text((plan.result / name).read_text())
    print(json.dumps(json.loads((plan.result / "metrics.json").read_text())), flush=True)


if __name__ == "__main__":
    main()
