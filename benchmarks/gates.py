"""What the flat views of the gates cost beside walking over rows, and how often drift alarms by chance alone.

The rival makes the same rows of fields and the same sums in Python, row by row, as one would write it first. Both sides
see the same annotations and make as many rows, in turns; costs are CPU seconds. False alarms are counted on halvings of
the same documents, by the tests alone (no size of a difference is tolerated); the rival is what the level permits.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Measure, lower_is_better
from sap_llm.evaluation.drift import DriftSettings, false_alarms
from sap_llm.preparation.suites.fields import flat_fields
from sap_llm.preparation.suites.sums import flat_sums
from sap_llm.schema.tables import ANNOTATIONS, conform

RUNS = 3
ANNOTATIONS_MADE = 2000
LINES = 10
DOCUMENTS = 5000
CLASSES = ["SUPPLIER_INVOICE", "PURCHASE_ORDER", "DUNNING"]


def run() -> dict[str, Measure]:
    """CPU seconds of the views on both sides, and false alarms of drift."""
    truths, pages = _truths(), _pages()
    assert flat_fields(truths, pages).num_rows == len(_fields_by_row(truths, pages))
    assert flat_sums(truths).num_rows == len(_sums_by_row(truths))
    settings = DriftSettings(resamples=200, psi=0, distance=0)
    alarms = false_alarms(_documents(), settings, seed=7)
    return {
        "fields": _duel(lambda: flat_fields(truths, pages), lambda: _fields_by_row(truths, pages)),
        "sums": _duel(lambda: flat_sums(truths), lambda: _sums_by_row(truths)),
        "drift_false_alarms": lower_is_better(
            ours=alarms,
            rival=settings.level * settings.resamples,
            rival_name="what the level permits",
            unit=f"of {settings.resamples} halvings",
            runs=1,
        ),
    }


def _duel(ours: Callable[[], object], rival: Callable[[], object]) -> Measure:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for side, call in enumerate((ours, rival)):
            started = time.process_time()
            call()
            seconds[side].append(time.process_time() - started)
    print(f"ours {min(seconds[0]):.3f} s, row by row {min(seconds[1]):.3f} s, the fastest of {RUNS}")
    return lower_is_better(
        ours=min(seconds[0]), rival=min(seconds[1]), rival_name="Python, row by row", unit="CPU s", runs=RUNS
    )


def _truths() -> pa.Table:
    lines = [
        {"line_number": number, "page": 1, "fields": [_field("line_net_amount", "10.00"), _field("line_quantity", "2")]}
        for number in range(1, LINES + 1)
    ]
    amounts = {"net_amount": "100.00", "tax_amount": "19.00", "total_amount": "119.00", "currency": "EUR"}
    rows = [
        {
            "document_id": f"doc-{number}",
            "annotator": "truth",
            "revision": 1,
            "source": "synthetic",
            "document_type": "SUPPLIER_INVOICE",
            "type_confidence": 1.0,
            "fields": [_field(name, value) for name, value in amounts.items()],
            "line_items": lines,
            "tables": [],
            "layout_blocks": [],
        }
        for number in range(ANNOTATIONS_MADE)
    ]
    table = conform(rows, ANNOTATIONS)
    return table.append_column("share_of", pa.array(["synthetic"] * len(rows)))


def _field(name: str, value: str) -> dict[str, Any]:
    return {
        "field": name,
        "value": value,
        "printed": value,
        "page": 1,
        "box": [10.0, 20.0, 60.0, 30.0],
        "word_ids": [3, 4],
        "confidence": 1.0,
        "source": "synthetic",
    }


def _pages() -> pa.Table:
    return pa.table(
        {
            "document_id": [f"doc-{number}" for number in range(ANNOTATIONS_MADE)],
            "page_number": pa.array([1] * ANNOTATIONS_MADE, type=pa.int16()),
            "width": [595.0] * ANNOTATIONS_MADE,
            "height": [842.0] * ANNOTATIONS_MADE,
            "words": [50] * ANNOTATIONS_MADE,
        }
    )


def _documents() -> pa.Table:
    rng = np.random.default_rng(7)
    words = rng.lognormal(5, 0.6, DOCUMENTS).astype(int)
    return pa.table(
        {
            "document_type": rng.choice(
                ["SUPPLIER_INVOICE", "PURCHASE_ORDER", "DUNNING"], DOCUMENTS, p=[0.5, 0.3, 0.2]
            ),
            "language": rng.choice(["de", "en", "fr", "es"], DOCUMENTS),
            "word_count": words,
            "digit_share": rng.beta(4, 16, DOCUMENTS),
            "amount_count": rng.poisson(12, DOCUMENTS),
            "page_count": rng.choice([1, 2, 3], DOCUMENTS, p=[0.8, 0.15, 0.05]),
        }
    )


def _fields_by_row(truths: pa.Table, pages: pa.Table) -> list[dict[str, Any]]:
    sizes = {(row["document_id"], row["page_number"]): row for row in pages.to_pylist()}
    rows = []
    for truth in truths.to_pylist():
        placed = [("header", field) for field in truth["fields"]]
        for line in truth["line_items"]:
            placed += [(f"line {line['line_number']}", field) for field in line["fields"]]
        for place, field in placed:
            page = sizes.get((truth["document_id"], field["page"]))
            left, top, right, bottom = field["box"]
            outside = page and max(-left, -top, right - page["width"], bottom - page["height"])
            beyond = page and max(field["word_ids"]) - page["words"] + 1
            about = {"document_id": truth["document_id"], "place": place, "field": field["field"]}
            rows.append({**about, "value": field["value"], "outside_points": outside, "words_beyond": beyond})
    return rows


def _sums_by_row(truths: pa.Table) -> list[dict[str, Any]]:
    rows = []
    for truth in truths.to_pylist():
        header = {field["field"]: field["value"] for field in truth["fields"]}
        net, total = float(header["net_amount"]), float(header["total_amount"])
        lines = sum(_line_net(line) for line in truth["line_items"])
        for rule, parts, whole in (
            ("net_and_tax", net + float(header["tax_amount"]), total),
            ("lines_and_net", lines, net),
        ):
            rows.append({"document_id": truth["document_id"], "rule": rule, "difference_units": 100 * (parts - whole)})
    return rows


def _line_net(line: Mapping[str, Any]) -> float:
    return sum(float(field["value"]) for field in line["fields"] if field["field"] == "line_net_amount")
