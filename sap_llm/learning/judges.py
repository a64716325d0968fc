"""How each gate judges a dataset version: one judge per gate, used alike by the CLI and by Dagster's asset checks.

Belongs here: measuring against requirements, and leaving the verdict. Which gates exist is `registry.gates`, what a
suite expects is `preparation.suites`, the required values are `configs/<profile>/gates.yaml`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import Field

from sap_llm.registry import gates
from sap_llm.schema.errors import GateClosedError
from sap_llm.storage.build import StageConfig
from sap_llm.storage.store import Dataset

if TYPE_CHECKING:
    from sap_llm.registry.verdicts import Verdict, VerdictStore

Number = float | int | str
GATES_CONFIG = "gates"
_SUITE = "suite"
_SUITES: Mapping[str, str] = MappingProxyType(
    {
        gates.ANNOTATED_SUITE: "annotated_docs",
        gates.RELEASE_SUITE: "corpus_release",
        gates.TRAINING_SUITE: "training_set",
    }
)

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        gates.ANNOTATOR_AGREEMENT: "People who answered independently agree beyond chance, on classes and on fields. "
        "Annotated documents go without the batch until it does.",
        gates.ANNOTATED_SUITE: "Great Expectations suite of annotated documents.",
        gates.RELEASE_SUITE: "Great Expectations suite of a frozen corpus.",
        gates.TRAINING_SUITE: "Great Expectations suite of a training set. Training refuses without it.",
        gates.SPLITS_DISJOINT: "Train, validation and test share no group, file or text. Training refuses without it.",
        gates.MODEL_QUALITY: "Accuracy of class and subtype and field F1 reach what is required, and F1 beats the "
        "label-regex baseline. Promotion refuses without it.",
        gates.VARIANT_QUALITY: "The variant is faster than its parent and loses no more F1 than permitted. Without it "
        "the model is released without the variant.",
    }
)
"""Gate name -> what passing it means."""


class GatesConfig(StageConfig):
    """`configs/<profile>/gates.yaml`: what answers of people, a model and its variants must reach."""

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


Judge = Callable[[Dataset, GatesConfig], Judgement]


def judge(gate: str, dataset: Dataset, *, config: GatesConfig, verdicts: "VerdictStore") -> "Verdict":
    """Judge one dataset version at one gate and record the verdict for its data version.

    Args:
        gate: One of `registry.gates.gates_of(dataset.ref.name)`.
        dataset: The version to judge.
        config: Required values.
        verdicts: Where the verdict is kept.
    """
    from sap_llm.registry.verdicts import Verdict

    standing = _standing_suite_verdict(gate, dataset, verdicts)
    if standing is not None:
        return standing
    found = JUDGES[gate](dataset, config)
    verdict = Verdict(
        gate=gate,
        data_version=dataset.manifest.data_version,
        passed=found.passed,
        measured=dict(found.measured),
        required=dict(found.required),
        explanation=found.explanation,
        created_at=verdicts.clock.now(),
    )
    verdicts.record(verdict)
    return verdict


def judge_all(dataset: Dataset, *, config: GatesConfig, verdicts: "VerdictStore") -> list["Verdict"]:
    """Judge a dataset version at every gate that it has; what the CLI does after each build."""
    return [judge(gate, dataset, config=config, verdicts=verdicts) for gate in gates.gates_of(dataset.manifest.name)]


def _standing_suite_verdict(gate: str, dataset: Dataset, verdicts: "VerdictStore") -> "Verdict | None":
    """The verdict of the very same suite about this data version: loading the engine again would find the same."""
    if gate not in _SUITES:
        return None
    try:
        verdict = verdicts.find(dataset.manifest.data_version, gate)
    except GateClosedError:  # a damaged file: judge anew, which replaces it
        return None
    return verdict if verdict is not None and verdict.required.get(_SUITE) == _suite_id(_SUITES[gate]) else None


def _suite(name: str) -> Judge:
    def judge_suite(dataset: Dataset, _: GatesConfig) -> Judgement:
        from sap_llm.preparation.suites import validate

        result = validate(name, dataset.table("documents"))
        failures = [f"{failure.expectation} on {failure.column}: {failure.observed}" for failure in result.failures]
        return Judgement(
            passed=result.success,
            measured={"failed_expectations": len(failures), "expectations": result.evaluated},
            required={"failed_expectations": 0, _SUITE: _suite_id(name)},
            explanation="; ".join(failures) or f"every expectation of the suite {name} holds",
        )

    return judge_suite


def _suite_id(name: str) -> str:
    """Name and content of a suite, e.g. `training_set+3fa91c07`: another content judges anew."""
    from sap_llm.preparation.suites import SUITES

    content = json.dumps([asdict(expectation) for expectation in SUITES[name]()], sort_keys=True, default=str)
    return f"{name}+{hashlib.sha256(content.encode()).hexdigest()[:8]}"


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


def _splits(dataset: Dataset, _: GatesConfig) -> Judgement:
    from sap_llm.preparation.splits import leaks

    found = leaks(dataset.table("documents"))
    return Judgement(
        passed=not found,
        measured={"leaks": len(found)},
        required={"leaks": 0},
        explanation="; ".join(found) or "train, validation and test share no group, file or text",
    )


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
        **{gate: _suite(name) for gate, name in _SUITES.items()},
        gates.ANNOTATOR_AGREEMENT: _annotators,
        gates.SPLITS_DISJOINT: _splits,
        gates.MODEL_QUALITY: _model,
        gates.VARIANT_QUALITY: _variant,
    }
)
"""Gate name -> judge."""
