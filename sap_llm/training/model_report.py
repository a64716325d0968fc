"""The report of a finished training and its model card, written into the dataset of the model.

Belongs here: what every training stage tells of itself: curves, where the time went, hardware, cost, alerts, data with
their licences. A stage adds what it knows of its own model (`TrainingStage.describe`); drawing is `curves`, the card's
form `registry.model_card`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from sap_llm.registry.model_card import MODEL_CARD, DataRow, ModelCard, SliceRow, render
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.markdown import table
from sap_llm.storage.store import DatasetStore, DatasetWriter
from sap_llm.training.curves import draw_curves
from sap_llm.training.monitor import MonitoringConfig
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.report import events, write_json
from sap_llm.training.tracking import link, run_of

if TYPE_CHECKING:
    from sap_llm.training.stage import TrainingStage

ALERTS, REPORT = "alerts.json", "report.md"
_SAID_BY = ("source", "role", "licence", "split")
_TIMES = ("data_seconds", "checkpoint_seconds", "validation_seconds")
_MACHINE = ("host_", "process_", "network_", "gpu_")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a stage knows of its own model.

    Attributes:
        sections: Parts of the report, in Markdown; their pictures are in the dataset already.
        measures: Numbers for card and manifest.
        slices: Rows of the card.
    """

    sections: Sequence[str] = ()
    measures: Mapping[str, float] | None = None
    slices: Sequence[SliceRow] = ()


def write_model_report(
    store: DatasetStore,
    stage: "TrainingStage[Any]",
    plan: TrainingPlan[Any],
    writer: DatasetWriter,
    metrics: Mapping[str, Any],
    described: Description,
) -> dict[str, Any]:
    """Write report.md, its pictures, alerts.json and the model card; returns further metrics.

    Args:
        store: Holds the inputs, whose documents say their licences.
        stage: What was trained.
        plan: Its work folder has the progress of all its runs.
        writer: Of the model's dataset; the weights are in it.
        metrics: Of the training.
        described: What the stage itself knows.
    """
    points, alerts = curve(plan), events(plan.progress_file, "alert")
    write_json(writer.path(ALERTS), alerts)
    cost = cost_of(plan.config.monitoring, devices=plan.config.launch.ranks, seconds=float(metrics.get("seconds", 0.0)))
    told = {**cost, **(described.measures or {}), "alerts": len(alerts)}
    if (run := run_of(Path(plan.work))) is not None:
        told |= {"mlflow_run": run["run_id"], "mlflow": link(run)}
    parts = [f"# Training of {plan.name}", _facts({**metrics, **told}, points)]
    for name, picture in draw_curves(points).items():
        writer.path(f"pictures/{name}.png").write_bytes(picture)
        parts.append(f"![{name}](pictures/{name}.png)")
    parts += [_times(points), _hardware(points), _alerts(alerts), *described.sections]
    writer.path(REPORT).write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    card = _card(store, stage, plan, writer, {**metrics, **told}, described)
    writer.path(MODEL_CARD).write_text(render(card), encoding="utf-8")
    return told


def curve(plan: TrainingPlan[Any]) -> list[dict[str, float]]:
    """The points of all runs of a plan; what a killed run did beyond its checkpoint was done again and counts once."""
    points: list[dict[str, float]] = []
    for point in events(plan.progress_file, "step"):
        while points and points[-1]["step"] >= point["step"]:
            points.pop()
        points.append(point)
    return points


def cost_of(config: MonitoringConfig, *, devices: int, seconds: float) -> dict[str, Any]:
    """Device hours, and their price where the configuration has one."""
    hours = devices * seconds / 3600
    priced = {"cost": round(hours * config.price_per_hour, 4), "currency": config.currency}
    return {"device_hours": round(hours, 4), **(priced if config.price_per_hour else {})}


def _facts(facts: Mapping[str, Any], points: Sequence[Mapping[str, float]]) -> str:
    speed = {name: mean(point[name] for point in points if name in point) for name in _rates(points)}
    rows = [[f"`{name}`", _shown(value)] for name, value in {**facts, **speed}.items()]
    return table(["Fact", "Value"], rows)


def _rates(points: Sequence[Mapping[str, float]]) -> list[str]:
    return sorted({name for point in points for name in point if name.endswith("_per_second") or name == "mfu"})


def _times(points: Sequence[Mapping[str, float]]) -> str:
    """Seconds of rank 0 by what they were spent on."""
    if not points:
        return ""
    total = points[-1]["seconds"]
    spent = {name: sum(point.get(name, 0.0) for point in points) for name in _TIMES}
    spent["steps_seconds"] = max(0.0, total - sum(spent.values()))
    rows = [
        [name.removesuffix("_seconds"), f"{value:.1f}", f"{value / max(total, 1e-9):.1%}"]
        for name, value in spent.items()
    ]
    return f"## Where the time went\n\n{table(['Part', 'Seconds', 'Share'], rows)}"


def _hardware(points: Sequence[Mapping[str, float]]) -> str:
    names = sorted({name for point in points for name in point if name.startswith(_MACHINE)})
    rows = []
    for name in names:
        values = [point[name] for point in points if name in point]
        rows.append([name, _shown(mean(values)), _shown(max(values)), _shown(sum(values)) if "network" in name else ""])
    return f"## Hardware of rank 0\n\n{table(['Number', 'Mean', 'Most', 'Sum'], rows)}" if rows else ""


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> str:
    rows = [[alert["kind"], alert["severity"], alert["step"], alert["explanation"]] for alert in alerts]
    return f"## Alerts\n\n{table(['Kind', 'Severity', 'Step', 'What'], rows) if rows else 'None.'}"


def _card(
    store: DatasetStore,
    stage: "TrainingStage[Any]",
    plan: TrainingPlan[Any],
    writer: DatasetWriter,
    facts: Mapping[str, Any],
    described: Description,
) -> ModelCard:
    measured = {name: value for name, value in facts.items() if name.startswith("validation_")}
    training = {name: value for name, value in facts.items() if name not in measured}
    return ModelCard(
        name=plan.name,
        version=plan.version,
        use=stage.use,
        limits=stage.limits,
        inputs={role: str(ref) for role, ref in plan.inputs.items()},
        data=[row for ref in plan.inputs.values() for row in data_rows(store, ref)],
        measures=measured,
        slices=described.slices,
        training=training,
        hyperparameters=_flat(plan.config.model_dump(mode="json")),
        hashes=_hashes(writer.scratch),
        reproduce=[
            f"The inputs above, this code and the hyperparameters below give version `{plan.version}` again.",
            f"`dg launch --assets {stage.name} --partition {plan.partition}`, its configuration as below.",
            f"Seed {plan.config.seed}; bit for bit on the same processor with as many ranks and threads.",
        ],
    )


def data_rows(store: DatasetStore, ref: DatasetRef) -> list[DataRow]:
    """Documents of a dataset by source, role, licence and split; none where its documents do not say them."""
    dataset = store.open(ref)
    if "documents" not in dataset.manifest.rows:
        return []
    scanned = dataset.scan("documents")
    if not set(_SAID_BY) <= set(scanned.schema.names):
        return []
    counted = scanned.to_table(columns=list(_SAID_BY)).group_by(list(_SAID_BY)).aggregate([([], "count_all")])
    rows = [
        DataRow(
            source=row["source"],
            role=row["role"],
            licence=row["licence"] or "not stated",
            split=row["split"],
            documents=row["count_all"],
        )
        for row in counted.to_pylist()
    ]
    return sorted(rows, key=lambda row: (row.source, row.role, row.licence, row.split))


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as stream:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _shown(value: object) -> str:
    return f"{value:,.5g}" if isinstance(value, float) else str(value)
