"""How each gate judges a dataset version: one judge per gate, used alike by the CLI and by Dagster's asset checks.

Belongs here: measuring against requirements, and leaving the verdict. Which gates exist is `registry.gates`, what a
suite expects is `preparation.suites`, the required values are `configs/<profile>/gates.yaml`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import Field

from sap_llm.evaluation.drift import DriftSettings
from sap_llm.preparation.plan import SparkSettings
from sap_llm.preparation.suites.expectations import SuiteSettings, expectations_of
from sap_llm.registry import gates
from sap_llm.schema.errors import GateClosedError
from sap_llm.storage.build import StageConfig
from sap_llm.storage.store import Dataset

if TYPE_CHECKING:
    from sap_llm.preparation.suites.engine import GroupResult
    from sap_llm.registry.verdicts import Verdict, VerdictStore

Number = float | int | str
GATES_CONFIG = "gates"
_SUITE = "suite"
_MOST_EXAMPLES = 20

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        gates.ANNOTATOR_AGREEMENT: "People who answered independently agree beyond chance, on classes and on fields. "
        "Annotated documents go without the batch until it does.",
        gates.SCHEMA: "Columns and types are those of the contract; what must be there is there.",
        gates.IDENTITY: "Document ids are doc-<uuid>, each once, as are pages and revisions of annotations.",
        gates.CLASSES: "Classes, subtypes and fields are the taxonomy's, each where it may occur.",
        gates.RANGES: "Qualities, shares, counts and lengths lie in their ranges; values are canonical.",
        gates.MONEY: "Lines make the net amount, net and tax make the total, to the smallest unit of the currency.",
        gates.GEOMETRY: "Boxes lie inside their pages, words of fields exist, no page is missing.",
        gates.DATES: "Dates are plausible and in order.",
        gates.SPLITS_DISJOINT: "Train, validation and test share no group, file, text or test layout.",
        gates.MODEL_QUALITY: "Accuracy of class and subtype and field F1 reach what is required, and F1 beats the "
        "label-regex baseline. Promotion refuses without it.",
        gates.VARIANT_QUALITY: "The variant is faster than its parent and loses no more F1 than permitted. Without it "
        "the model is released without the variant.",
    }
)
"""Gate name -> what passing it means."""


class GatesConfig(StageConfig):
    """`configs/<profile>/gates.yaml`: what data, answers of people, a model and its variants must reach."""

    suites: SuiteSettings = SuiteSettings()
    drift: DriftSettings = DriftSettings()

    min_annotator_kappa: float = Field(
        description="Cohen's kappa of class and of header fields pooled must be above it", ge=0, lt=1
    )
    min_doubled_documents: int = Field(
        description="documents that two people answered, in pairs of people that have a kappa", ge=1
    )
    min_class_accuracy: float = Field(ge=0, le=1)
    min_subtype_accuracy: float = Field(description="where the test has documents with subtypes", ge=0, le=1)
    min_field_f1: float = Field(ge=0, le=1)
    min_lead_over_baseline: float = Field(description="field F1 above the label-regex baseline's, 0.01 is one point")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judge found."""

    passed: bool
    measured: Mapping[str, Number]
    required: Mapping[str, Number]
    explanation: str
    examples: Sequence[Mapping[str, str]] = ()
    report: str = ""


Judge = Callable[[Dataset, GatesConfig], Judgement]


def judge_all(
    dataset: Dataset,
    *,
    config: GatesConfig,
    verdicts: "VerdictStore",
    only: Iterable[str] | None = None,
    spark: SparkSettings | None = None,
) -> list["Verdict"]:
    """Judge a dataset version at its gates and record the verdicts for its data version.

    A group of a suite that judged the same content before is not judged again: it would find the same.

    Args:
        dataset: The version to judge.
        config: Required values.
        verdicts: Where the verdicts are kept, and the pages of the suites.
        only: Some of `registry.gates.gates_of(dataset.ref.name)`; all by default.
        spark: Where suites run when their engine is Spark.

    Returns:
        The verdicts in the order of the gates.
    """
    from sap_llm.registry.verdicts import Verdict

    asked = set(gates.gates_of(dataset.ref.name) if only is None else only)
    chosen = [gate for gate in gates.gates_of(dataset.ref.name) if gate in asked]
    groups = [gate for gate in chosen if gate in gates.SUITE]
    known = {gate: verdict for gate in groups if (verdict := _standing(gate, dataset, config, verdicts)) is not None}
    found = _judge_suites([gate for gate in groups if gate not in known], dataset, config, verdicts, spark)
    found |= {gate: JUDGES[gate](dataset, config) for gate in chosen if gate not in gates.SUITE}
    for gate, one in found.items():
        known[gate] = Verdict(
            gate=gate,
            data_version=dataset.manifest.data_version,
            passed=one.passed,
            measured=dict(one.measured),
            required=dict(one.required),
            explanation=one.explanation,
            examples=[dict(row) for row in one.examples],
            report=one.report,
            created_at=verdicts.clock.now(),
        )
        verdicts.record(known[gate])
    return [known[gate] for gate in chosen]


def _standing(gate: str, dataset: Dataset, config: GatesConfig, verdicts: "VerdictStore") -> "Verdict | None":
    """The verdict of the very same expectations about the very same content."""
    try:
        verdict = verdicts.find(dataset.manifest.data_version, gate)
    except GateClosedError:  # a damaged file: judge anew, which replaces it
        return None
    same = verdict is not None and verdict.required.get(_SUITE) == _suite_id(gate, dataset, config.suites)
    return verdict if same else None


def _judge_suites(
    groups: Sequence[str],
    dataset: Dataset,
    config: GatesConfig,
    verdicts: "VerdictStore",
    spark: SparkSettings | None,
) -> dict[str, Judgement]:
    if not groups:
        return {}
    from sap_llm.preparation.suites.docs import DataDocs
    from sap_llm.preparation.suites.engine import Report, validate

    report = Report(docs=DataDocs(verdicts.files), ref=dataset.ref, moment=verdicts.clock.now())
    results = validate(dataset, groups, settings=config.suites, spark=spark, report=report)
    return {group: _of_group(result, _suite_id(group, dataset, config.suites)) for group, result in results.items()}


def _of_group(result: "GroupResult", suite: str) -> Judgement:
    examples = [
        {"outcome": outcome, "expectation": failure.expectation, "column": failure.column or "", **row}
        for outcome, failures in (("fails", result.failures), ("tolerated", result.tolerated))
        for failure in failures
        for row in failure.rows
    ]
    return Judgement(
        passed=result.success,
        measured={
            "failed_expectations": len(result.failures),
            "expectations": result.evaluated,
            "failing_rows": sum(failure.count for failure in result.failures),
            "tolerated_rows": sum(failure.count for failure in result.tolerated),
        },
        required={"failed_expectations": 0, _SUITE: suite},
        explanation="; ".join(map(str, result.failures)) or f"every expectation of the group {result.group} holds",
        examples=examples[:_MOST_EXAMPLES],
        report=result.report,
    )


def _annotators(dataset: Dataset, config: GatesConfig) -> Judgement:
    from sap_llm.annotation.agreement import measure_agreement

    found = measure_agreement(dataset.table("annotations"), dataset.table("answers"), seed=config.seed)
    kappas = {"class": found.class_kappa, "fields": found.field_kappa}
    failures = []
    if missing := max(0, config.min_doubled_documents - found.documents_doubled):
        failures.append(
            f"two people answered only {found.documents_doubled} documents, {missing} more are needed for a judgement"
        )
    for name, kappa in kappas.items():
        if kappa.value is None:
            failures.append(f"the kappa of {name} is undefined: {_why_undefined(found.documents_doubled)}")
            continue
        if kappa.documents < config.min_doubled_documents <= found.documents_doubled:
            failures.append(f"the kappa of {name} rests on {kappa.documents} documents, the rest show only one answer")
        if kappa.value <= config.min_annotator_kappa:
            failures.append(f"the kappa of {name} is {kappa}, it must be above {config.min_annotator_kappa:g}")
    held = ", ".join(f"{name} {kappa}" for name, kappa in kappas.items())
    return Judgement(
        passed=not failures,
        measured=found.metrics(),
        required={f"kappa_{name}": config.min_annotator_kappa for name in kappas}
        | {"documents_doubled": config.min_doubled_documents},
        explanation="; ".join(failures) or f"kappa: {held}, on {found.documents_doubled} documents",
    )


def _why_undefined(doubled: int) -> str:
    return (
        "every pair of people gave one and the same answer throughout" if doubled else "no two people share a document"
    )


def _suite_id(group: str, dataset: Dataset, settings: SuiteSettings) -> str:
    """Name and content of a group, e.g. `money+3fa91c07`: another content is judged anew.

    Some expectations look at the pages of the inputs, which the data version does not cover: they are a part of it.
    """
    from sap_llm.preparation.suites.views import VERSION

    expectations = expectations_of(dataset.ref.name.partition("/")[0], group, settings)
    inputs = sorted(str(ref) for ref in dataset.manifest.inputs.values())
    content = json.dumps([VERSION, inputs, *map(asdict, expectations)], sort_keys=True, default=str)
    return f"{group}+{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _model(dataset: Dataset, config: GatesConfig) -> Judgement:
    metrics = dataset.manifest.metrics
    baseline = float(metrics["field_f1_baseline"])
    required: dict[str, float] = {
        "class_accuracy": config.min_class_accuracy,
        "field_f1": max(config.min_field_f1, baseline + config.min_lead_over_baseline),
    }
    if "subtype_accuracy" in metrics:
        required["subtype_accuracy"] = config.min_subtype_accuracy
    measured = {name: float(metrics[name]) for name in required}
    failures = [
        f"{name} is {measured[name]:.4f}, required {least:.4f}"
        for name, least in required.items()
        if measured[name] < least
    ]
    held = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in measured.items())
    return Judgement(
        passed=not failures,
        measured=measured | {"field_f1_baseline": baseline},
        required=required,
        explanation="; ".join(failures) or f"{held} (field F1 of the baseline {baseline:.4f})",
    )


def _variant(dataset: Dataset, _: GatesConfig) -> Judgement:
    metrics = dataset.manifest.metrics
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float) and name != "accepted"}
    return Judgement(
        passed=bool(metrics["accepted"]),
        measured=numbers,
        required={"accepted": "faster than its parent and within the permitted F1 loss"},
        explanation=str(metrics.get("reason") or "faster than its parent and within the permitted F1 loss"),
    )


JUDGES: Mapping[str, Judge] = MappingProxyType(
    {
        gates.ANNOTATOR_AGREEMENT: _annotators,
        gates.MODEL_QUALITY: _model,
        gates.VARIANT_QUALITY: _variant,
    }
)
"""Gate name -> judge, where it is no group of a suite: those are judged together."""
