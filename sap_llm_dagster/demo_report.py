"""What `make demo` says at the end: the numbers of the run as JSON and as a table.

Belongs here: collecting numbers that the stages measured and printing them. Nothing is measured here but the time.
"""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from sap_llm.deployment import Deployment
from sap_llm.schema.manifest import Manifest
from sap_llm.storage.store import Dataset
from sap_llm_dagster.local_run import RunOutcome

_WHERE_TO_LOOK = (
    ("make dev", "the Dagster UI over these runs: lineage, plots over materialisations, checks, reports"),
    ("sap-llm extract FILE.pdf", "the champion on a document of yours"),
    ("sap-llm status", "the dataset versions that now exist"),
)


def build_report(
    deployment: Deployment, outcomes: Sequence[RunOutcome], *, release: str, seconds: float
) -> dict[str, Any]:
    """The report as plain JSON; keys are stable, absent where a stage measured nothing of the kind."""
    store = deployment.store

    def opened(name: str) -> Dataset:
        return store.open(store.current(name))

    metrics = {stage: opened(f"{stage}/{release}").manifest.metrics for stage in _STAGES}
    evaluation, model, memory = metrics["model_evaluation"], metrics["registered_model"], metrics["pmg_snapshot"]
    variant = opened(f"quantized_models/{release}/int8").manifest.metrics
    champion = deployment.registry.champion()
    consumed = opened(f"annotated_docs/{release}").manifest
    numbers = {key: value for key, value in evaluation.items() if key.startswith(_SHOWN)}
    return {
        "release": release,
        "documents": _documents(opened(f"corpus_release/{release}")),
        "quarantined": _quarantined(deployment, consumed, opened(f"training_set/{release}").manifest),
        **numbers,
        "latency": {key: value for key, value in variant.items() if key.startswith("latency")},
        "variant_accepted": variant["accepted"],
        "model_version": model["version"],
        "is_champion": bool(model["is_champion"]),
        "champion_version": champion.version if champion else None,
        "promotion": model["explanation"],
        "pmg": {key: value for key, value in memory.items() if isinstance(value, int)},
        "reused": sum(asset.is_reused for outcome in outcomes for asset in outcome.assets),
        "built": sum(not asset.is_reused for outcome in outcomes for asset in outcome.assets),
        "stage_seconds": _stage_seconds(outcomes),
        "seconds": round(seconds, 1),
    }


_STAGES = ("model_evaluation", "registered_model", "pmg_snapshot")
_SHOWN = (
    "class_accuracy",
    "subtype_accuracy",
    "field_f1",
    "header_f1",
    "line_item_f1",
    "ece",
    "documents_",
    "groups_real",
    "test_version",
)


def print_report(console: Console, report: dict[str, Any], *, where: str) -> None:
    """The table that ends the demo."""
    table = Table("what", "measured", "beside", title=f"release {report['release']}")
    sources = ", ".join(f"{source} {count:,}" for source, count in report["documents"].items())
    table.add_row("documents", sources, f"{report['quarantined']:,} rows quarantined with their reasons")
    subtypes = f"of subtypes {_number(report, 'subtype_accuracy')}" if "subtype_accuracy" in report else ""
    table.add_row("class accuracy, unseen layouts", _number(report, "class_accuracy"), subtypes)
    baseline = _number(report, "field_f1_baseline")
    table.add_row("field F1, unseen layouts", _number(report, "field_f1"), f"label-regex baseline {baseline}")
    if "header_f1_real" in report:
        interval = f"95 % interval {_number(report, 'header_f1_real_low')} to {_number(report, 'header_f1_real_high')}"
        baseline = _number(report, "header_f1_real_baseline")
        table.add_row("header F1, real e-invoices and orders", _number(report, "header_f1_real"),
                      f"label-regex baseline {baseline}; {interval}")  # fmt: skip
    latency = report["latency"]
    accepted = "accepted" if report["variant_accepted"] else "refused"
    table.add_row("latency a document, median",
                  f"{latency['latency_p50_ms_parent']:.1f} ms before INT8",
                  f"{latency['latency_p50_ms']:.1f} ms after; variant {accepted}")  # fmt: skip
    champion = "champion" if report["is_champion"] else f"champion stays version {report['champion_version']}"
    table.add_row("registered model", f"version {report['model_version']}", champion)
    nodes = ", ".join(f"{name} {count:,}" for name, count in report["pmg"].items())
    table.add_row("process memory graph", nodes, "")
    table.add_row("assets", f"{report['built']} built, {report['reused']} reused", f"{report['seconds']:.0f} s in all")
    console.print(table)
    console.print(report["promotion"])
    for command, about in _WHERE_TO_LOOK:
        console.print(f"  [bold]{command:<26}[/bold] {about}")
    console.print(f"  [bold]{where:<26}[/bold] this table as JSON")


def _documents(release: Dataset) -> dict[str, int]:
    counts = release.table("documents", columns=["source"]).column("source").value_counts().to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counts, key=lambda entry: -entry["counts"])}


def _quarantined(deployment: Deployment, annotated: Manifest, training: Manifest) -> int:
    """Rows set aside anywhere between the sources and training."""
    manifests = [deployment.store.open(ref).manifest for ref in annotated.inputs.values()]
    return sum(manifest.rows.get("quarantine", 0) for manifest in [*manifests, annotated, training])


def _stage_seconds(outcomes: Sequence[RunOutcome]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for outcome in outcomes:
        for asset in outcome.assets:
            seconds[asset.asset] = round(seconds.get(asset.asset, 0.0) + asset.seconds, 1)
    return seconds


def _number(report: dict[str, Any], key: str) -> str:
    value = report.get(key)
    return "not measured" if value is None else f"{value:.3f}"
