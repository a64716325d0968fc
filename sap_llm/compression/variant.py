"""A variant against its parent: latency on the same documents, field F1 on the same truth, and the gate.

Belongs here: measuring two predictors side by side and deciding. Making the variant is `export`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from sap_llm.evaluation.fields import score_fields
from sap_llm.modeling.protocol import Predictor
from sap_llm.schema.page import Page

_NOWHEN = datetime(1970, 1, 1, tzinfo=UTC)  # rows that are compared and thrown away
_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Document:
    """A validation document with its truth (a row of `tables.ANNOTATIONS`)."""

    document_id: str
    pages: Sequence[Page]
    truth: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One predictor on the validation documents; latencies of single documents in milliseconds."""

    f1: float
    latency_p50_ms: float
    latency_p95_ms: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a variant may be used, and why."""

    accepted: bool
    reason: str


def measure(predictors: Mapping[str, Predictor], documents: Sequence[Document]) -> dict[str, Measured]:
    """Measure all predictors in turn, document by document, so that they share the machine's moods.

    Latency is the best of three rounds for each document: from pages to prediction, one document at a time.
    """
    best = {name: np.full(len(documents), np.inf) for name in predictors}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in predictors}
    for predictor in predictors.values():
        predictor.predict(documents[0].pages)  # warm
    for number in range(_ROUNDS):
        for place, document in enumerate(documents):
            for name, predictor in predictors.items():
                began = time.perf_counter()
                prediction = predictor.predict(document.pages)
                best[name][place] = min(best[name][place], (time.perf_counter() - began) * 1000.0)
                if number == 0:
                    rows[name].append(
                        prediction.to_row(document_id=document.document_id, annotator=name, created_at=_NOWHEN)
                    )
    truths = [document.truth for document in documents]
    return {
        name: Measured(
            f1=score_fields(truths, rows[name]).f1,
            latency_p50_ms=round(float(np.percentile(best[name], 50)), 3),
            latency_p95_ms=round(float(np.percentile(best[name], 95)), 3),
        )
        for name in predictors
    }


def judge(parent: Measured, variant: Measured, *, most_f1_loss_points: float) -> Verdict:
    """Accept a variant that is faster at the median and loses at most so many points (hundredths) of F1."""
    loss = (parent.f1 - variant.f1) * 100.0
    faults = []
    if variant.latency_p50_ms >= parent.latency_p50_ms:
        faults.append(f"not faster: {variant.latency_p50_ms:.2f} ms a document, parent {parent.latency_p50_ms:.2f} ms")
    if loss > most_f1_loss_points:
        faults.append(f"loses {loss:.2f} points of F1, {most_f1_loss_points:g} are allowed")
    if faults:
        return Verdict(accepted=False, reason="; ".join(faults))
    ratio = parent.latency_p50_ms / variant.latency_p50_ms
    return Verdict(accepted=True, reason=f"{ratio:.2f} times as fast, {loss:+.2f} points of F1 lost")
