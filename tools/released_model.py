"""Recipe of the released model: the gpu profile's compact encoder, trained on the synthetic stream, then packed.

Belongs here: what `multitask_model` gets from a training set when it runs in the lineage, made by hand for a machine
that has a GPU and nothing else (documents of reserved layouts to validate on, the plan), and what turns weights into
`sap_llm/modeling/released/<name>`: INT8 graph, calibration, card, checksums. The training is the launched program of
the lineage. Weights come out as half-precision shards of at most 16 MiB.

    python tools/released_model.py train --work WORK --out OUT [steps=7500 launch.ranks=1 ...]
    python tools/released_model.py pack --weights OUT --name reader-1

Train again with the same --work to go on from the newest checkpoint. What is measured while packing is measured on
documents of reserved layouts from worlds that the training never made.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from safetensors.numpy import load_file, save_file

from sap_llm.compression.export import export_onnx, quantize_int8
from sap_llm.evaluation.fields import REPORTED_FIELDS, score_fields
from sap_llm.evaluation.measures import Measures, measure
from sap_llm.modeling.confidence import fit_values
from sap_llm.modeling.folder import GRAPH, WEIGHTS, ModelConfig, read_config, write_config
from sap_llm.modeling.labels import LabelSet
from sap_llm.modeling.onnx_runtime import OnnxRuntime
from sap_llm.modeling.released_model import SUMS
from sap_llm.modeling.runtimes import load_predictor
from sap_llm.modeling.shards import encode_shard, read_shard
from sap_llm.registry.model_card import MODEL_CARD, DataRow, ModelCard, SliceRow, render
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.storage.build import code_version
from sap_llm.synthetic.stream import documents_of_worlds
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.multitask import MULTITASK_MODEL, TRAINING_SET
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.source import taught_labels
from sap_llm.training.stage import launch_training
from sap_llm.training.validate import fit_calibration, gather_scores

_VALIDATION_SEED = 2007
_SHARD_BYTES = 15 * 2**20

_RELEASED = Path(__file__).parents[1] / "sap_llm" / "modeling" / "released"
_FIT_WORLDS, _TEST_WORLDS = range(1000, 1014), range(2000, 2014)
_READ_AT = datetime(2000, 1, 1, tzinfo=UTC)
_USE = (
    "Tells the class, subtype, header fields, line items, tables and layout blocks of business documents in English, "
    "German, French and Spanish from the words of their pages and where they stand. For trying the system before a "
    "model of one's own exists, and as the start of one. It does not judge whether a document is genuine."
)
_LIMITS = (
    "It has seen synthetic documents alone: no real document of anybody is in it.",
    "It sees words and boxes, no pixels: what the reader did not read, it does not know.",
    "A vendor's order confirmation and our own look alike, as do a supplier's invoice and ours: it says the usual one.",
    "Confidences were fitted on synthetic documents; on real ones they are too high.",
)


def main() -> None:
    """Train, or pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    trained = commands.add_parser("train", help="train, or go on training, and write the weights")
    trained.add_argument("--work", type=Path, required=True, help="checkpoints; the same to go on")
    trained.add_argument("--out", type=Path, required=True, help="receives the weights")
    trained.add_argument("--profile", default="gpu")
    trained.add_argument("--worlds", type=int, default=14, help="worlds to validate on")
    trained.add_argument("overrides", nargs="*", help="dotted values of configs/<profile>/multitask_model.yaml")
    trained.set_defaults(call=train)
    packed = commands.add_parser("pack", help="make a released model of the weights")
    packed.add_argument("--weights", type=Path, required=True, help="what train wrote")
    packed.add_argument("--name", required=True, help="of the released model; a name is used once")
    packed.add_argument("--profile", default="gpu")
    packed.set_defaults(call=pack)
    arguments = parser.parse_args()
    arguments.call(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Train from the newest checkpoint in the work folder, or from the start."""
    config = config_of(arguments.profile, arguments.overrides)
    shards = arguments.work / "training_set" / "shards.parquet"
    if not shards.exists():
        shards.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        pq.write_table(_validation(config, arguments.worlds), shards)
        print(f"validation documents made in {time.monotonic() - began:.0f} s", flush=True)
    version = code_version(MULTITASK_MODEL.version, config)  # another configuration does not go on with this one's
    plan = TrainingPlan[MultitaskModelConfig](
        stage=MULTITASK_MODEL.name,
        program=MULTITASK_MODEL.program,
        name=f"{MULTITASK_MODEL.name}/released",
        version="released",
        inputs={TRAINING_SET: DatasetRef(name=f"{TRAINING_SET}/released", version="released")},
        folders={TRAINING_SET: str(shards.parent.resolve())},
        work=str((arguments.work / version).resolve()),
        backend="gloo",
        backend_reason="one rank",
        taxonomy_version=taxonomy_version(),
        config=config,
    )
    Path(plan.work).mkdir(parents=True, exist_ok=True)
    launch_training(plan)
    _write(plan, arguments.out)


def pack(arguments: argparse.Namespace) -> None:
    """Quantise, calibrate, measure, describe."""
    torch.set_num_threads(2)
    config = config_of(arguments.profile, [])
    target = _RELEASED / arguments.name
    if target.exists():
        raise SystemExit(f"{target} exists: a released model never changes, give another name")
    with tempfile.TemporaryDirectory(dir=_RELEASED) as scratch:
        folder = Path(scratch) / arguments.name  # what is left half made is no released model
        folder.mkdir()
        _fill(folder, arguments, config)
        folder.rename(target)
    print(f"{target}: {sum(path.stat().st_size for path in target.iterdir()) / 2**20:.1f} MiB", flush=True)


def _fill(folder: Path, arguments: argparse.Namespace, config: MultitaskModelConfig) -> None:
    fit = validation_tables(config, _FIT_WORLDS)
    _make_graph(arguments.weights, config, folder, read_shard(encode_shard(*fit)))
    _calibrate_values(folder, fit)
    measured = _measured(folder, validation_tables(config, _TEST_WORLDS))
    metrics = json.loads((arguments.weights / "metrics.json").read_text(encoding="utf-8"))
    training = {name: metrics[name] for name in ("steps", "words_seen", "documents_seen", "seconds", "device")}
    (folder / MODEL_CARD).write_text(render(_card(arguments.name, config, measured, training)), encoding="utf-8")
    names = sorted(path.name for path in folder.iterdir())
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")


def config_of(profile: str, overrides: list[str]) -> MultitaskModelConfig:
    """A profile's configuration of `multitask_model` with dotted overrides."""
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


def validation_tables(config: MultitaskModelConfig, worlds: range) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Documents, pages and annotations of worlds that are not trained on, in layouts that no training document has."""
    assert config.stream is not None, "the profile has no stream"
    facts = config.stream.facts.model_copy(update={"seed": _VALIDATION_SEED})
    documents = config.stream.documents.model_copy(update={"seed": _VALIDATION_SEED, "test_layout_share": 1.0})
    tables = documents_of_worlds(worlds, facts, documents)
    return tables["documents"], tables["pages"], tables["annotations"]


def _validation(config: MultitaskModelConfig, worlds: int) -> pa.Table:
    documents, pages, annotations = validation_tables(config, range(worlds))
    split = pa.array(["validation"] * documents.num_rows)
    return encode_shard(documents.append_column("split", split), pages, annotations)


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


def _make_graph(weights: Path, config: MultitaskModelConfig, folder: Path, shard: Any) -> None:
    """The INT8 graph and config.json with temperatures; quantising shifts scores, so they are fitted on the graph."""
    labels: LabelSet = taught_labels(shard, config)
    about = ModelConfig(taxonomy_version=taxonomy_version(), backbone=config.backbone, labels=labels.to_json())
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)
        parts = [load_file(path) for path in sorted(weights.glob("*.safetensors"))]
        save_file({name: value.astype("float32") for part in parts for name, value in part.items()}, source / WEIGHTS)
        write_config(source, about)
        difference = export_onnx(source, about, source / GRAPH)
        print(f"the graph differs from torch by {difference:.2g} at most", flush=True)
        quantize_int8(source / GRAPH, folder / GRAPH)
    gathered = gather_scores(OnnxRuntime(folder, threads=2), shard, most=600)
    calibration = fit_calibration(gathered, labels)
    write_config(folder, about.model_copy(update={"calibration": calibration, "precision": "int8"}))


def _calibrate_values(folder: Path, tables: tuple[pa.Table, pa.Table, pa.Table]) -> None:
    truths = tables[2].to_pylist()
    outcomes = score_fields(truths, _read(folder, *tables[:2]), fields=REPORTED_FIELDS).outcomes
    claims = [
        (one.field, min(1.0, one.confidence), one.kind == "hit") for one in outcomes if one.confidence is not None
    ]
    config = read_config(folder)
    values = config.calibration.model_copy(update={"values": fit_values(claims)})
    write_config(folder, config.model_copy(update={"calibration": values}))


def _read(folder: Path, documents: pa.Table, pages: pa.Table) -> list[Mapping[str, Any]]:
    own: dict[str, list[Page]] = {}
    for row in pages.sort_by([("document_id", "ascending"), ("page_number", "ascending")]).to_pylist():
        own.setdefault(row["document_id"], []).append(Page.from_row(row))
    names = [name for name in documents.column("document_id").to_pylist() if name in own]
    found = load_predictor(folder, runtime="onnx", threads=2).predict_many([own[name] for name in names])
    return [
        prediction.to_row(document_id=name, annotator="released", created_at=_READ_AT)
        for name, prediction in zip(names, found, strict=True)
    ]


def _measured(folder: Path, tables: tuple[pa.Table, pa.Table, pa.Table]) -> Measures:
    documents, _, truths = tables
    return measure(documents, truths, _read(folder, *tables[:2]), fields=REPORTED_FIELDS, scopes={}, seed=7)


def _card(name: str, config: MultitaskModelConfig, measured: Measures, training: Mapping[str, Any]) -> ModelCard:
    measures = {
        "class_accuracy": measured.classes.accuracy,
        "subtype_accuracy": measured.classes.subtype_accuracy,
        "field_f1": measured.fields.f1,
        "line_item_f1": measured.line_items.f1,
        "table_f1": measured.tables.relations.f1,
    }
    slices = [
        SliceRow(view="field", name=field, support=score.support, measure="F1", value=score.f1)
        for field, score in measured.fields.by_field.items()
    ]
    assert config.stream is not None, "the profile has no stream"
    parts = config.model_dump(mode="json", include={"backbone", "losses", "augmentation", "optimizer"})
    values = {f"{part}.{key}": value for part, own in parts.items() for key, value in own.items()}
    values |= {"steps": config.steps, "batch_words": config.batch_words}
    data = DataRow(
        source="synthetic stream", role="train", licence="Apache-2.0", split="train",
        documents=training["documents_seen"] // config.stream.repeats,
    )  # fmt: skip
    return ModelCard(
        name=name, version=taxonomy_version(), use=_USE, limits=_LIMITS, data=[data],
        measures={key: value for key, value in measures.items() if value is not None}, slices=slices,
        training=training, hyperparameters=values,
        reproduce=(
            "python tools/released_model.py train --work WORK --out OUT",
            f"python tools/released_model.py pack --weights OUT --name {name}",
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
