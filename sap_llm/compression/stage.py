"""The `quantized_models` stage: a variant of a model as a dataset, with its measurements and its verdict.

Belongs here: finding validation documents, making the variant's folder, recording the gate. A refused variant is kept
and says so; the registry does not take it. Importing this module loads neither torch nor onnxruntime.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sap_llm.evaluation.test_set import most_trusted
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

if TYPE_CHECKING:
    from sap_llm.compression.variant import Document

STAGE_VERSION = "4"


class QuantizedModelsConfig(StageConfig):
    """`configs/<profile>/quantized_models.yaml`."""

    validation_documents: int = Field(default=150, description="scored by parent and variant", ge=1)
    calibration_windows: int = Field(default=300, description="for refitting the temperatures", ge=1)
    threads: int = Field(default=2, description="of both runtimes while measuring", ge=1)
    most_f1_loss_points: float = Field(default=0.5, description="hundredths of F1 that a variant may lose")
    most_export_difference: float = Field(default=1e-3, description="between torch and the fp32 graph")


def build_quantized_models(
    context: StageContext,
    *,
    config: QuantizedModelsConfig,
    model: DatasetRef,
    training_set: DatasetRef,
    release: str,
    variant: Literal["int8"] = "int8",
) -> BuildResult:
    """Make and judge a variant of a trained model.

    The dataset holds `model/` (ONNX graph and config.json with temperatures fitted anew). Metrics: `accepted` and
    `reason`, F1, latency (p50 and p95, one document at a time, same documents and threads) and size of parent and
    variant, and the ratios.

    Args:
        context: Store, clock and progress.
        config: Limits and sizes.
        model: `multitask_model/<release>`.
        training_set: Gives the validation documents.
        release: Name of the release.
        variant: Only `int8` so far.

    Raises:
        ConfigurationError: The variant is unknown, the model's backbone is not the compact encoder, the export differs
            from torch, or no document validates.
    """
    if variant != "int8":
        raise ConfigurationError(f"no variant {variant!r}", where="quantized_models", remedy="Known: int8.")

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        source = context.store.open(model).path("model")
        return _int8(context, writer, source, config=config, training_set=training_set)

    return build(
        context,
        name=f"quantized_models/{release}/{variant}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={model.name: model, training_set.name: training_set},
        produce=produce,
    )


def _int8(
    context: StageContext,
    writer: DatasetWriter,
    source: Path,
    *,
    config: QuantizedModelsConfig,
    training_set: DatasetRef,
) -> dict[str, Any]:
    from sap_llm.compression.export import export_onnx, quantize_int8
    from sap_llm.compression.variant import judge, measure
    from sap_llm.modeling.folder import GRAPH, WEIGHTS, read_config, write_config
    from sap_llm.modeling.onnx_runtime import OnnxRuntime
    from sap_llm.modeling.runtimes import load_predictor
    from sap_llm.modeling.shards import read_shard
    from sap_llm.training.validate import fit_calibration, gather_scores

    folder = writer.path(f"model/{GRAPH}").parent
    parent_config = read_config(source)
    if parent_config.backbone.family != "compact":
        raise ConfigurationError(
            f"no INT8 variant of the backbone {parent_config.backbone.family}",
            where=str(source),
            remedy="Serve it by its own runtime, or train the compact encoder.",
        )
    context.progress("exporting to ONNX")
    plain = folder / "plain.onnx"
    difference = export_onnx(source, parent_config, plain)
    if difference > config.most_export_difference:
        raise ConfigurationError(
            f"the exported graph differs from torch by {difference:.2g}",
            where=str(source),
            remedy=f"At most {config.most_export_difference:g} is allowed; check the torch and onnxscript versions.",
        )
    quantize_int8(plain, folder / GRAPH)
    plain.unlink()
    shard = read_shard(context.store.open(training_set).table("shards"), split="validation")
    gathered = gather_scores(OnnxRuntime(folder, threads=config.threads), shard, most=config.calibration_windows)
    values = parent_config.calibration.values  # of the same values: their words are scored nearly alike
    calibration = fit_calibration(gathered, parent_config.label_set).model_copy(update={"values": values})
    write_config(folder, parent_config.model_copy(update={"calibration": calibration, "precision": "int8"}))

    documents = validation_documents(context, training_set, most=config.validation_documents)
    context.progress(f"measuring parent and variant on {len(documents)} documents")
    with _torch_threads(config.threads):
        predictors = {
            "parent": load_predictor(source, runtime="torch"),
            "variant": load_predictor(folder, runtime="onnx", threads=config.threads),
        }
        measured = measure(predictors, documents)
    parent, variant = measured["parent"], measured["variant"]
    verdict = judge(parent, variant, most_f1_loss_points=config.most_f1_loss_points)
    size, parent_size = (folder / GRAPH).stat().st_size, (source / WEIGHTS).stat().st_size
    context.progress(f"int8 {'accepted' if verdict.accepted else 'REFUSED'}: {verdict.reason}")
    return {
        "accepted": verdict.accepted,
        "reason": verdict.reason,
        "latency_ratio": round(parent.latency_p50_ms / variant.latency_p50_ms, 3),
        "f1_loss": round(parent.f1 - variant.f1, 5),
        "size_ratio": round(parent_size / size, 3),
        "f1": round(variant.f1, 5),
        "f1_parent": round(parent.f1, 5),
        "latency_p50_ms": variant.latency_p50_ms,
        "latency_p95_ms": variant.latency_p95_ms,
        "latency_p50_ms_parent": parent.latency_p50_ms,
        "latency_p95_ms_parent": parent.latency_p95_ms,
        "size_bytes": size,
        "size_bytes_parent": parent_size,
        "export_difference": difference,
        "documents": len(documents),
        "threads": config.threads,
    }


def validation_documents(context: StageContext, training_set: DatasetRef, *, most: int) -> "list[Document]":
    """The first `most` validation documents (by id) with words and truth, from the training set's inputs.

    Raises:
        ConfigurationError: There is none.
    """
    from sap_llm.compression.variant import Document

    dataset = context.store.open(training_set)
    inputs = dataset.manifest.inputs
    chosen = dataset.scan("documents").to_table(
        columns=["document_id", "input"], filter=(pc.field("split") == "validation") & pc.field("has_truth")
    )
    chosen = chosen.sort_by("document_id").slice(0, most)
    if not chosen.num_rows:
        raise ConfigurationError("no validation document", where=str(training_set), remedy="Raise its share.")
    annotated = next(ref for role, ref in inputs.items() if role.startswith("annotated_docs/"))
    ids = chosen.column("document_id")
    truths = most_trusted(context.store.open(annotated).scan("annotations").to_table(filter=_among(ids)))
    truth_of = {row["document_id"]: row for row in truths.to_pylist()}
    pages: dict[str, list[Page]] = {}
    for name in sorted(set(chosen.column("input").to_pylist())):
        table = context.store.open(inputs[name]).scan("pages").to_table(filter=_among(ids))
        for row in table.sort_by([("document_id", "ascending"), ("page_number", "ascending")]).to_pylist():
            pages.setdefault(row["document_id"], []).append(Page.from_row(row))
    return [
        Document(document_id=name, pages=pages[name], truth=truth_of[name])
        for name in ids.to_pylist()
        if name in pages and name in truth_of
    ]


def _among(ids: pa.ChunkedArray) -> pc.Expression:
    return pc.field("document_id").isin(ids.combine_chunks())


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
