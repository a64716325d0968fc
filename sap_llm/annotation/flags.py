"""Which pre-annotations a person has to look at, and how good those are that nobody looks at.

Belongs here: the threshold on the confidence of documents, derived from a permitted error, and the report with its
risk-coverage picture. How confidences come about is `confidence`.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from sap_llm.annotation.confidence import CLAIMS, FEWEST_DOCUMENTS, Claim, Trust, own_confidence
from sap_llm.evaluation.calibration import RiskCoverage, expected_calibration_error, risk_coverage
from sap_llm.schema.markdown import table
from sap_llm.storage.store import DatasetWriter

REPORT, PICTURE = "report.md", "risk_coverage.png"


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The threshold and what it does to the documents whose truth is known.

    Attributes:
        threshold: Documents of a lower confidence are flagged.
        target_error: Permitted mean error of the others.
        is_given: The threshold is the configuration's own, whatever the error.
        known: How many documents it was judged on.
        unflagged: Their share that is not flagged; None without known documents.
        error: Mean error of these; None where there are none.
        ece: Expected calibration error of the values' confidences, as the predictor gave them and calibrated.
        curve: Risk and coverage by calibrated and by own confidence.
    """

    threshold: float
    target_error: float
    is_given: bool
    known: int
    unflagged: float | None
    error: float | None
    ece: tuple[float | None, float | None]
    curve: RiskCoverage
    own_curve: RiskCoverage

    def metrics(self) -> dict[str, float]:
        """Numbers for the manifest; what could not be measured is left out."""
        found = {
            "confidence_threshold": self.threshold,
            "known_documents": self.known,
            "known_unflagged_share": self.unflagged,
            "known_unflagged_error": self.error,
            "value_ece_of_predictor": self.ece[0],
            "value_ece": self.ece[1],
            "risk_area_of_predictor": self.own_curve.area if self.known else None,
            "risk_area": self.curve.area if self.known else None,
        }
        return {name: round(value, 4) for name, value in found.items() if value is not None}


def choose_threshold(trust: Trust, *, target_error: float, override: float | None) -> Flags:
    """The lowest threshold that keeps the mean error of unflagged known documents within the target.

    Where no threshold does, every document is flagged; where too few truths are known, those are whose own confidence
    promises less.
    """
    names = sorted(trust.known.quality)
    errors = [1.0 - trust.known.quality[name] for name in names]
    curve = risk_coverage([trust.confidence[name] for name in names], errors)
    own = {row["document_id"]: min(1.0, own_confidence(row)) for row in trust.known.rows}
    if override is not None:
        threshold = override
    elif trust.is_fitted:
        reached = curve.threshold_for(target_error)
        threshold = float(np.nextafter(1.0, 2.0)) if reached is None else reached
    else:
        threshold = 1.0 - target_error
    kept, error = curve.at(threshold)
    return Flags(
        threshold=threshold,
        target_error=target_error,
        is_given=override is not None,
        known=len(names),
        unflagged=kept if names else None,
        error=error,
        ece=(_ece(trust.known.claims), _ece(trust.judged)),
        curve=curve,
        own_curve=risk_coverage([own[name] for name in names], errors),
    )


def write_report(writer: DatasetWriter, trust: Trust, flags: Flags) -> None:
    """Write `report.md`, and the picture where there is something to draw."""
    parts = ["# Confidence of the pre-annotations", _said(trust, flags)]
    if flags.known:
        writer.path(PICTURE).write_bytes(_picture(flags))
        parts += [f"![Error of what is not flagged, by its share]({PICTURE})"]
    if trust.judged:
        parts += ["## Calibration by field", _by_field(trust)]
    writer.path(REPORT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _said(trust: Trust, flags: Flags) -> str:
    if not trust.is_fitted:
        fitted = (
            f"Only {flags.known} pre-annotated documents have a truth to learn from, {FEWEST_DOCUMENTS} are needed: "
            "confidences are the predictor's own."
        )
    else:
        fitted = (
            f"Calibrated on {flags.known} documents whose truth is known, each judged by a fit on other groups. The "
            "confidence of a document is the expected F1 of its values, its class being one of them."
        )
    origin = "given" if flags.is_given else f"for a mean error of at most {flags.target_error:.1%}"
    said = f"{fitted} Documents below {flags.threshold:.4f} ({origin}) are flagged"
    if flags.unflagged is None:
        return said + "."
    error = "" if flags.error is None else f", with a mean error of {flags.error:.1%}"
    return f"{said}; {flags.unflagged:.1%} of the known ones are not{error}."


def _by_field(trust: Trust) -> str:
    rows = []
    for name in CLAIMS:
        own, judged = (
            [claim for claim in claims if claim.name == name] for claims in (trust.known.claims, trust.judged)
        )
        if own:
            right = sum(claim.is_right for claim in own) / len(own)
            means = [sum(claim.confidence for claim in claims) / len(claims) for claims in (own, judged)]
            eces = [_ece(claims) or 0.0 for claims in (own, judged)]
            rows.append([f"`{name}`", len(own), f"{right:.3f}", *(f"{value:.3f}" for value in (*means, *eces))])
    head = [
        "Value",
        "Predicted",
        "Right",
        "Mean confidence, predictor's",
        "calibrated",
        "ECE, predictor's",
        "calibrated",
    ]
    return table(head, rows)


def _ece(claims: list[Claim]) -> float | None:
    return expected_calibration_error([claim.confidence for claim in claims], [claim.is_right for claim in claims])


def _picture(flags: Flags) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.0), layout="constrained")
    axes: Any = figure.subplots()
    for label, curve in (("calibrated", flags.curve), ("predictor's own", flags.own_curve)):
        axes.plot(curve.coverage, curve.risk, label=label)
    axes.axhline(flags.target_error, color="gray", linewidth=0.8, linestyle="--", label="permitted error")
    if flags.unflagged:
        axes.axvline(flags.unflagged, color="gray", linewidth=0.8, label="not flagged")
    axes.set(xlabel="share of documents that is not flagged", ylabel="their mean error", xlim=(0, 1), ylim=(0, None))
    axes.legend(fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=90, metadata={"Software": None})
    return stream.getvalue()
