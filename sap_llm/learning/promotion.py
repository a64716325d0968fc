"""Stage 08: a release's model becomes a registered version, and champion if it deserves it.

Belongs here: the decision who is champion and the stage that registers. Keeping versions and aliases is
`registry.mlflow_registry`, judging gates is `learning.judges`.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from pydantic import Field

from sap_llm.learning.re_evaluation import evaluate_champion
from sap_llm.learning.rivalry import RIVALRY, Rivalry, RivalryConfig, compare_rivals
from sap_llm.registry.gates import require_gates
from sap_llm.schema.errors import DatasetNotFoundError, GateClosedError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetStore, DatasetWriter

if TYPE_CHECKING:
    from sap_llm.registry.mlflow_registry import Champion, ModelRegistry, RegisteredVersion
    from sap_llm.registry.verdicts import VerdictStore

STAGE_VERSION = "2"
_CONSUMER = "registered_model"
_MODEL_FOLDER = "model"
_BY_DOCUMENT = "document_scores"


class RegisteredModelConfig(StageConfig):
    """`configs/<profile>/registered_model.yaml`: the leads that a challenger needs, as fractions of F1."""

    min_lead_over_baseline: float = Field(ge=0, description="field F1 above the label-regex baseline's")
    min_lead_over_champion: float = Field(ge=0, description="field F1 above the champion's; 0 means any lead")
    rivalry: RivalryConfig


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model's field F1 on one frozen test version."""

    field_f1: float
    test_version: str
    baseline: float = 0.0
    evaluation: Dataset | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the challenger becomes champion, and why, in one sentence."""

    is_champion: bool
    explanation: str


def decide_promotion(
    challenger: Measured,
    champion: Measured | None,
    *,
    refusal: str | None,
    config: RegisteredModelConfig,
) -> Decision:
    """Decide on a challenger that is not champion already.

    Args:
        challenger: What the evaluation measured.
        champion: What the present champion reached, None if there is none.
        refusal: The sentence of a closed gate, None if all are open.
        config: The leads that are required.
    """
    lead = challenger.field_f1 - challenger.baseline
    if refusal is not None:
        return Decision(is_champion=False, explanation=f"Not promoted: {refusal}")
    if lead <= 0 or lead < config.min_lead_over_baseline:
        return Decision(
            is_champion=False,
            explanation=f"Not promoted: field F1 {challenger.field_f1:.4f} must exceed the label-regex baseline's "
            f"{challenger.baseline:.4f} (required lead {config.min_lead_over_baseline:g}).",
        )
    if champion is None:
        return Decision(
            is_champion=True,
            explanation=f"Promoted: the first champion, field F1 {challenger.field_f1:.4f} against the baseline's "
            f"{challenger.baseline:.4f}.",
        )
    if champion.test_version != challenger.test_version:
        return Decision(
            is_champion=False,
            explanation=f"Not promoted: the champion was measured on test version {champion.test_version}, this model "
            f"on {challenger.test_version}, so their F1 cannot be compared. Re-evaluate the champion on "
            f"{challenger.test_version}.",
        )
    lead = challenger.field_f1 - champion.field_f1
    is_ahead = lead > 0 and lead >= config.min_lead_over_champion
    return Decision(
        is_champion=is_ahead,
        explanation=f"{'Promoted' if is_ahead else 'Not promoted'}: field F1 {challenger.field_f1:.4f} against the "
        f"champion's {champion.field_f1:.4f} on the same test version (required lead "
        f"{config.min_lead_over_champion:g}).",
    )


def build_registered_model(
    context: StageContext,
    *,
    config: RegisteredModelConfig,
    model: DatasetRef,
    evaluation: DatasetRef,
    quantized: DatasetRef | None = None,
    registry: "ModelRegistry",
    verdicts: "VerdictStore",
    release: str,
) -> BuildResult:
    """Register a release's model with its evaluation and variants, and promote it if it deserves it.

    Args:
        context: Store, clock and progress.
        config: Required leads.
        model: `multitask_model/<release>`.
        evaluation: `model_evaluation/<release>` of that model.
        quantized: `quantized_models/<release>/int8`; registered beside the model when its gate is open.
        registry: Where versions are kept.
        verdicts: Where the gates' verdicts are kept.
        release: Release name.

    Returns:
        The dataset `registered_model/<release>` with `decision.json` and, where there was a champion to beat, table
        `comparison`; metrics: version, is_champion, explanation,
        field_f1, field_f1_baseline, champion_field_f1 (of the champion that it was compared with), run_id.

    Raises:
        DatasetNotFoundError: An input is not complete, or the evaluation lacks what the decision needs.
        GateClosedError: The evaluation is of another model.
    """
    inputs = {"multitask_model": model, "model_evaluation": evaluation}
    if quantized is not None:
        inputs["quantized_models"] = quantized
    opened = {role: context.store.open(ref) for role, ref in inputs.items()}
    if not _is_of(model, opened["model_evaluation"]):
        raise GateClosedError(
            f"{evaluation} is of another model than {model}, so its verdict says nothing about this one",
            where="registered_model",
            remedy="Materialise model_evaluation again, then registered_model.",
        )
    measured = _measured(opened["model_evaluation"])
    champion = _champion(registry)
    refusal = _refusal(verdicts, opened["model_evaluation"])
    variant = opened.get("quantized_models")
    if variant is not None and (not _is_of(model, variant) or _refusal(verdicts, variant) is not None):
        del opened["quantized_models"]  # refused, or of another model: not served, and the model needs none

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        context.progress(f"registering {model}")
        version = _register(registry, opened, measured=measured, release=release)
        rival = None if champion is None or champion.run_id == version.run_id else champion
        found_rival: Measured | None = None
        if champion is not None and rival is None:
            decision = Decision(is_champion=True, explanation=f"Is the champion already. {champion.reason}")
        else:
            found_rival = None if rival is None else _of_champion(context, rival, opened["model_evaluation"])
            decision = decide_promotion(measured, found_rival, refusal=refusal, config=config)
            if found_rival is not None:
                rivalry = _rivalry(measured, found_rival, config)
                decision = _after(decision, rivalry)
                writer.write_table("comparison", conform(rivalry.rows, RIVALRY), RIVALRY)
                writer.path("report.md").write_text(f"{decision.explanation}\n\n{rivalry.report()}", encoding="utf-8")
            if decision.is_champion:
                registry.promote(version.version, reason=decision.explanation)
        context.progress(decision.explanation)
        found = {
            "version": version.version,
            "is_champion": decision.is_champion,
            "explanation": decision.explanation,
            "field_f1": measured.field_f1,
            "field_f1_baseline": measured.baseline,
            "run_id": version.run_id,
            "variants": "int8" if "quantized_models" in opened else "none",
        }
        if rival is not None and found_rival is not None:
            found |= {"champion_version": rival.version, "champion_field_f1": found_rival.field_f1}
        if url := registry.url(version):
            found["mlflow_url"] = url
        writer.path("decision.json").write_text(json.dumps(found, indent=2))
        return found

    return build(
        context,
        name=f"registered_model/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs=inputs,
        fingerprint={
            "rival": _rival(champion, str(model)),
            "gates": "open" if refusal is None else "closed",
            "variants": ",".join(role for role in opened if role == "quantized_models") or "none",
        },
        produce=produce,
    )


def champion_to_serve(
    store: DatasetStore, registry: "ModelRegistry", verdicts: "VerdictStore", *, consumer: str
) -> "Champion | None":
    """The champion behind its door: whoever serves asks again, since an override ends and a verdict may be replaced.

    Raises:
        GateClosedError: A gate of the evaluation that promoted it is closed.
        DatasetNotFoundError: That evaluation is gone, so nobody can say what was judged.
    """
    champion = registry.champion()
    if champion is not None:
        require_gates(verdicts, store.open(DatasetRef.parse(champion.evaluation)), consumer=consumer)
    return champion


def _is_of(model: DatasetRef, judged: Dataset) -> bool:
    """Whether a verdict about `judged` says anything about the model, which may have been trained anew since."""
    return model in judged.manifest.inputs.values()


def _champion(registry: "ModelRegistry") -> "Champion | None":
    try:
        return registry.champion()
    except DatasetNotFoundError:
        return None  # its files are gone: it cannot serve, so it is no rival


def _rival(champion: "Champion | None", model: str) -> str:
    """The version that the model had or has to beat; the same before and after its own promotion."""
    if champion is None:
        return "none"
    return (champion.previous or "none") if champion.model == model else champion.version


def _refusal(verdicts: "VerdictStore", dataset: Dataset) -> str | None:
    """The sentence of the dataset's closed gate, None if all of its gates are open."""
    try:
        require_gates(verdicts, dataset, consumer=_CONSUMER)
    except GateClosedError as error:
        return str(error)
    return None


def _measured(evaluation: Dataset) -> Measured:
    metrics = evaluation.manifest.metrics
    try:
        return Measured(
            field_f1=float(metrics["field_f1"]),
            baseline=float(metrics["field_f1_baseline"]),
            test_version=str(metrics["test_version"]),
            evaluation=evaluation,
        )
    except KeyError as error:
        raise DatasetNotFoundError(
            f"the evaluation has no metric {error}", where=str(evaluation.ref), remedy="Materialise it again."
        ) from None


def _rivalry(challenger: Measured, champion: Measured, config: RegisteredModelConfig) -> Rivalry:
    """Both on the documents of the headline test; a refusal without rows where they were not measured on the same."""
    pair = [champion.evaluation, challenger.evaluation]
    known = [one for one in pair if one is not None and _BY_DOCUMENT in one.manifest.rows]
    if len(known) < len(pair) or champion.test_version != challenger.test_version:
        return Rivalry(
            rows=[],
            summary="They were not compared document by document.",
            refusal="champion and challenger have no scores by document on the same test version",
        )
    test = pc.field("test") == str(known[1].manifest.metrics["headline_test"])
    rows = [one.scan(_BY_DOCUMENT).to_table(filter=test) for one in known]
    return compare_rivals(*rows, config=config.rivalry, seed=config.seed)


def _after(decision: Decision, rivalry: Rivalry) -> Decision:
    """The decision with what the comparison says; a lead does not help where a slice refuses."""
    if decision.is_champion and rivalry.refusal is not None:
        return Decision(is_champion=False, explanation=f"Not promoted: {rivalry.refusal}. {rivalry.summary}")
    return replace(decision, explanation=f"{decision.explanation} {rivalry.summary}")


def _of_champion(context: StageContext, champion: "Champion", evaluation: Dataset) -> Measured:
    """What the champion reaches on the challenger's test version; measured now where it never was."""
    wanted = _measured(evaluation).test_version
    try:
        if champion.test_version == wanted:
            known = context.store.open(DatasetRef.parse(champion.evaluation))
            if _BY_DOCUMENT in known.manifest.rows:  # evaluations of before had none
                return _measured(known)
        return _measured(evaluate_champion(context, champion, evaluation=evaluation))
    except DatasetNotFoundError as error:
        context.progress(f"the champion cannot be evaluated anew: {error}")
        return Measured(field_f1=champion.metrics["field_f1"], test_version=champion.test_version)


def _register(
    registry: "ModelRegistry", opened: Mapping[str, Dataset], *, measured: Measured, release: str
) -> "RegisteredVersion":
    model, evaluation = opened["multitask_model"].manifest, opened["model_evaluation"].manifest
    tags = {
        "data_version": model.data_version,
        "code_version": model.code_version,
        "taxonomy_version": model.taxonomy_version,
        **{role: str(ref) for role, ref in model.inputs.items()},
    }
    variants = {}
    with _variant(opened.get("quantized_models")) as variant:
        if variant is not None:
            variants["int8"] = variant
            tags["quantized_models"] = str(opened["quantized_models"].ref)
        return registry.register_model(
            folder=opened["multitask_model"].path(_MODEL_FOLDER),
            release=release,
            model=str(model.ref),
            evaluation=str(evaluation.ref),
            test_version=measured.test_version,
            metrics=_numbers(evaluation.metrics) | _numbers(model.metrics, prefix="training_"),
            parameters=model.configuration,
            tags=tags,
            variants=variants,
        )


@contextmanager
def _variant(quantized: Dataset | None) -> Iterator[Path | None]:
    """A folder with the opaque files of an accepted variant, None if there is none."""
    if quantized is None or not quantized.manifest.metrics.get("accepted", False):
        yield None
        return
    tables = {f"{name}.parquet" for name in quantized.manifest.rows}
    with tempfile.TemporaryDirectory(prefix="sap_llm_variant_") as scratch:
        for relative in quantized.manifest.files:
            if relative not in tables:
                target = Path(scratch) / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(quantized.path(relative), target)
        yield Path(scratch)


def _numbers(metrics: Mapping[str, Any], *, prefix: str = "") -> dict[str, float]:
    return {
        f"{prefix}{name}": float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
