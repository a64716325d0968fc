"""CPU seconds until two people's kappas are known, beside scikit-learn fed document by document; and at full size.

Both sides say the kappa of the class and of every header field on absent or which span; that they say the same is
checked. Ours also compares line items and gives alpha, overlaps and pairs of people; intervals are timed apart. The
full size is the same documents under other ids, 100,000 with two answers each.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Measure, lower_is_better

RUNS = 3
DOCUMENTS, COPIES = 4_000, 25
FIELDS = 12  # a document
_CLASSES = ("SUPPLIER_INVOICE", "PURCHASE_ORDER", "GOODS_RECEIPT", "CREDIT_NOTE")


def run() -> dict[str, Measure]:
    """Both sides in turns on the small size; ours alone on the full one.

    Raises:
        AssertionError: The sides do not agree.
    """
    from sap_llm.annotation.adjudication import resolve
    from sap_llm.annotation.agreement import measure_agreement

    annotations, answers = two_people(DOCUMENTS)
    found = measure_agreement(annotations, answers, resamples=0)
    said = document_by_document(annotations)
    assert found.class_kappa.value is not None
    assert abs(found.class_kappa.value - said["class"]) < 1e-9
    for name, own in found.by_field.items():
        assert own.kappa.value is not None
        assert abs(own.kappa.value - said[name]) < 1e-9, name
    ours, rival = [], []
    for _ in range(RUNS):
        ours.append(_seconds(lambda: measure_agreement(annotations, answers, resamples=0)))
        rival.append(_seconds(lambda: document_by_document(annotations)))
    large = tuple(_copied(table) for table in (annotations, answers))
    full = {
        "kappas": _seconds(lambda: measure_agreement(*large, resamples=0)),
        "kappas with intervals": _seconds(lambda: measure_agreement(*large)),
        "truths and disagreements": _seconds(lambda: resolve(*large)),
    }
    sys.stdout.write(f"CPU s for {DOCUMENTS:,} documents: ours {sorted(ours)}, rival {sorted(rival)}\n")
    sys.stdout.writelines(
        f"CPU s for {DOCUMENTS * COPIES:,} documents, {name}: {one:.1f}\n" for name, one in full.items()
    )
    return {
        "agreement_kappas": lower_is_better(
            ours=round(statistics.median(ours), 3), rival=round(statistics.median(rival), 3), unit="CPU s", runs=RUNS,
            rival_name="document by document into scikit-learn",
        ),
        "agreement_intervals_full_size": lower_is_better(
            ours=round(full["kappas with intervals"], 2), rival=round(full["kappas"], 2), unit="CPU s", runs=1,
            rival_name="without intervals",
        ),
    }  # fmt: skip


def two_people(documents: int) -> tuple[pa.Table, pa.Table]:
    """Tables `annotations` and `answers`: two answers to each document, one value in twenty-five another one."""
    from datetime import UTC, datetime

    from sap_llm.evaluation.fields import REPORTED_FIELDS
    from sap_llm.schema.annotation import ANSWERS
    from sap_llm.schema.tables import ANNOTATIONS, conform

    random = np.random.default_rng(7)
    rows = []
    for number in range(documents):
        names = random.permutation(REPORTED_FIELDS)[:FIELDS]
        values = random.integers(10**6, size=FIELDS)
        for who in ("ann", "bob"):
            other, left_out = random.random(FIELDS) < 0.04, random.random(FIELDS) < 0.02
            fields = [
                {
                    "field": name, "value": f"{value + differs}.00", "printed": f"{value}", "page": 1,
                    "box": [10.0, 12.0 * place, 60.0 + random.random(), 12.0 * place + 10], "word_ids": [place],
                    "confidence": 1.0, "source": "human",
                }
                for place, (name, value, differs) in enumerate(zip(names, values, other, strict=True))
                if not left_out[place]
            ]  # fmt: skip
            kind = _CLASSES[number % 4] if random.random() > 0.03 else random.choice(_CLASSES)
            about = {"document_id": f"d{number:07}", "annotator": who, "revision": 1}
            given = datetime(2025, 6, 2, tzinfo=UTC)
            content = {"document_type": kind, "type_confidence": 1.0, "fields": fields}
            none: dict[str, list[Any]] = {"line_items": [], "tables": [], "layout_blocks": [], "decides_on": []}
            at_desk = {"queue": "annotators", "desk_id": f"{number}-{who}", "created_at": given, "source": "human"}
            rows.append(about | content | none | at_desk)
    return conform(rows, ANNOTATIONS), conform(rows, ANSWERS)


def document_by_document(annotations: pa.Table) -> dict[str, float]:
    """Kappa of class and each field, labels made in a loop over documents and given to scikit-learn."""
    from sklearn.metrics import cohen_kappa_score

    sides: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in annotations.to_pylist():
        sides.setdefault(row["document_id"], {})[row["annotator"]] = row
    pairs = [(two["ann"], two["bob"]) for two in sides.values()]
    kinds = [[row["document_type"] for row in side] for side in zip(*pairs, strict=True)]
    found = {"class": float(cohen_kappa_score(*kinds))}
    names = {entry["field"] for pair in pairs for row in pair for entry in row["fields"]}
    for name in sorted(names):
        labels: tuple[list[str], list[str]] = ([], [])
        for one, other in pairs:
            left, right = (next((e for e in row["fields"] if e["field"] == name), None) for row in (one, other))
            labels[0].append("absent" if left is None else f"{one['document_id']}, left")
            same = left is not None and right is not None and _is_same(left, right, name)
            labels[1].append("absent" if right is None else labels[0][-1] if same else f"{one['document_id']}, right")
        found[name] = _span_kappa(*labels)
    return found


def _span_kappa(one: list[str], other: list[str]) -> float:
    """As scikit-learn's, whose table of all labels by all labels would not fit: a span is a label of one document."""
    from sklearn.metrics import accuracy_score

    agreed = float(accuracy_score(one, other))
    size = len(one)
    left, right = (dict(zip(*np.unique(side, return_counts=True), strict=True)) for side in (one, other))
    chance = sum(int(count) * int(right.get(label, 0)) for label, count in left.items()) / size**2
    return (agreed - chance) / (1 - chance)


def _is_same(left: Mapping[str, Any], right: Mapping[str, Any], name: str) -> bool:
    from sap_llm.evaluation.fields import STRICT_OVERLAP, overlap
    from sap_llm.schema.taxonomy import load_taxonomy
    from sap_llm.schema.values import equal

    place = left["word_ids"] == right["word_ids"] or overlap(left["box"], right["box"]) >= STRICT_OVERLAP
    return place and equal(left["value"], right["value"], load_taxonomy().field(name).type)


def _copied(table: pa.Table) -> pa.Table:
    """The table under other document ids, `COPIES` times."""
    ids = table.column("document_id").to_pylist()
    place = table.schema.get_field_index("document_id")
    own = table.schema.field("document_id")
    return pa.concat_tables(
        table.set_column(place, own, pa.array([f"{copy}-{one}" for one in ids])) for copy in range(COPIES)
    )


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started
