"""What the UI shows of a built dataset version: headline numbers first, then a small report, then where it is.

Belongs here: `BuildResult` -> `dg.MaterializeResult`. Drawing is `resources.pictures`; the numbers themselves are made
by the stages and stand in the manifest.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import dagster as dg

from resources.gates import overrides_table
from resources.pictures import bars, data_uri, fit, loss_curve, table
from resources.stage_run import DATASET_REF, StageRun
from sap_llm.registry.model_card import MODEL_CARD
from sap_llm.schema.manifest import Manifest
from sap_llm.storage.build import BuildResult

QUARANTINE = "quarantine"
REPORT = "report.md"
LOSSES = "losses.json"  # points of the training's loss curve
_F1_PREFIX = "field_f1_"  # field F1 of a test or source
_REPORT_BYTES = 100_000  # the asset page loads the metadata of all recent events at once
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^):]+\.(?:png|svg))\)")
_PLOTTED = 24


def materialized(
    stage: StageRun,
    built: BuildResult,
    *,
    headline: Sequence[str] = (),
    rows_of: str = "documents",
    links: Mapping[str, str] | None = None,
) -> dg.MaterializeResult:
    """The materialisation of an asset.

    Args:
        stage: The execution, for log and store.
        built: Outcome of the stage's `build` function.
        headline: Metric names shown first, in this order; the others follow.
        rows_of: Table whose row count is shown as the asset's.
        links: Name -> URL, such as the MLflow run.
    """
    return dg.MaterializeResult(
        data_version=dg.DataVersion(built.manifest.data_version),
        metadata=metadata_of(stage, built, headline=headline, rows_of=rows_of, links=links),
    )


def metadata_of(
    stage: StageRun,
    built: BuildResult,
    *,
    headline: Sequence[str] = (),
    rows_of: str = "documents",
    links: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The metadata of `materialized`, for ops that return a `dg.Output`."""
    manifest = built.manifest
    if not built.is_reused:  # reuse is said by `build`
        stage.dagster.log.info("%s built: %s", manifest.ref, _rows_said(manifest))
    metadata: dict[str, Any] = dict(_plotted(manifest.metrics, headline))
    metadata |= {name: dg.MetadataValue.url(url) for name, url in (links or {}).items()}
    if inline := _inline_report(stage, manifest, headline):
        metadata["report"] = dg.MetadataValue.md(inline)
    if REPORT in manifest.files:
        metadata["report_full"] = dg.MetadataValue.md(_full_report(stage, built))
    if MODEL_CARD in manifest.files:
        card = stage.open_dataset(built.ref).path(MODEL_CARD).read_text(encoding="utf-8")
        metadata["model_card"] = dg.MetadataValue.md(card)
    if rows_of in manifest.rows:
        metadata["dagster/row_count"] = manifest.rows[rows_of]
    if QUARANTINE in manifest.rows:
        metadata["quarantined"] = manifest.rows[QUARANTINE]
    metadata |= overrides_table(stage.used_overrides, now=stage.deployment.clock.now())
    return metadata | {
        "reused": dg.MetadataValue.bool(built.is_reused),
        DATASET_REF: str(manifest.ref),
        "path": dg.MetadataValue.path(stage.deployment.store.prefix(manifest.ref)),
        "code_version": manifest.code_version,
        "profile": stage.deployment.profile,
    }


def _plotted(metrics: Mapping[str, Any], headline: Sequence[str]) -> dict[str, Any]:
    """Numbers and short strings: the headline in its order, then the rest, bounded so that the page stays readable."""
    names = [name for name in headline if name in metrics] + [name for name in metrics if name not in headline]
    shown = {name: metrics[name] for name in names if isinstance(metrics[name], int | float | str)}
    return {name: _shown(value) for name, value in list(shown.items())[:_PLOTTED]}


def _shown(value: float | str) -> Any:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    is_link = isinstance(value, str) and value.startswith(("http://", "https://"))
    return dg.MetadataValue.url(str(value)) if is_link else value


def _inline_report(stage: StageRun, manifest: Manifest, headline: Sequence[str]) -> str:
    metrics = manifest.metrics
    f1_of = {
        name.removeprefix(_F1_PREFIX): float(value)
        for name, value in metrics.items()
        if name.startswith(_F1_PREFIX) and not name.endswith("baseline")
    }
    numbers = {name: metrics[name] for name in headline if name in metrics}
    return fit(
        loss_curve(_losses(stage, manifest)),
        bars(f1_of),
        table(numbers, head=("measure", "value")) if numbers else "",
        table(manifest.rows, head=("table", "rows")) if manifest.rows else "",
    )


def _losses(stage: StageRun, manifest: Manifest) -> list[float]:
    if LOSSES not in manifest.files:
        return []
    curve = json.loads(stage.open_dataset(manifest.ref).path(LOSSES).read_text(encoding="utf-8"))
    return [float(point["loss"]) for point in curve]


def _full_report(stage: StageRun, built: BuildResult) -> str:
    """The stage's own report with its pictures inside, as far as they fit; the rest stays a file beside the path."""
    dataset = stage.open_dataset(built.ref)
    text = dataset.path(REPORT).read_text(encoding="utf-8")
    budget = _REPORT_BYTES - len(text)

    def inlined(match: re.Match[str]) -> str:
        nonlocal budget
        relative = PurePosixPath(match.group(2)).as_posix()
        if relative not in built.manifest.files:
            return match.group(0)
        media_type = "image/svg+xml" if relative.endswith(".svg") else "image/png"
        uri = data_uri(dataset.path(relative).read_bytes(), media_type)
        if len(uri) > budget:
            return f"(picture {relative}: see path)"
        budget -= len(uri)
        return f"![{match.group(1)}]({uri})"

    return _PICTURE.sub(inlined, text[:_REPORT_BYTES])


def _rows_said(manifest: Manifest) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in manifest.rows.items()) or "no tables"
