"""What the heads' way of saying a document costs and loses: columns that were taught, and the truth decoded again.

The loss of a batch (1,024 words, forwards and backwards, processor time) in the columns that training computes, against
all columns of the taxonomy. The truth of generated documents as certain scores, decoded: line items with the beginnings
of values against geometry alone; tables and layout blocks against the truth itself.
"""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.measure import Measure, higher_is_better, lower_is_better

ROOT = Path(__file__).parent.parent
RUNS = 30
WORLDS = 6


def run() -> dict[str, Measure]:
    """Measure both."""
    return _loss() | _decoded_truth()


def _loss() -> dict[str, Measure]:
    import torch

    from sap_llm.modeling.heads import Scores
    from sap_llm.training.config import LossWeights
    from sap_llm.training.losses import DocumentLoss, Targets

    torch.set_num_threads(1)

    def call(header: int, line: int) -> Any:
        torch.manual_seed(0)
        words = (8, 128)
        shapes = ((8, 50), (8, 50), (*words, header + 1), (*words, line + 1), words, (*words, 4), words, (*words, 7))
        made = [torch.randn(shape, requires_grad=True) for shape in shapes]
        scores = Scores._make([*made, torch.zeros(8, 4)])
        labels = {"header_labels": header, "line_labels": line, "row_starts": 1, "table_labels": 1, "block_labels": 6}
        targets = Targets(
            class_ids=torch.randint(0, 50, (8,)),
            subtype_ids=torch.randint(0, 50, (8,)),
            starts=torch.randint(0, 16, words, dtype=torch.uint8),
            known_fields=torch.ones(8, header, dtype=torch.bool),
            known_line_fields=torch.ones(8, line, dtype=torch.bool),
            **{name: torch.randint(0, most + 1, words) for name, most in labels.items()},
        )
        loss = DocumentLoss(LossWeights(), subtype_ranges={0: (0, 50)}, subtypes=50)

        counts = loss.counts(targets)

        def step() -> None:
            loss(scores, targets, counts).total.backward()

        return step

    ours, rival = call(45, 17), call(207, 57)
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for one, seconds in zip((ours, rival), spent, strict=True):
            began = time.process_time()
            one()
            seconds.append(1000.0 * (time.process_time() - began))
    medians = [statistics.median(seconds) for seconds in spent]
    return {
        "loss of a batch": lower_is_better(
            ours=medians[0], rival=medians[1], rival_name="all columns", unit="ms", runs=RUNS
        )
    }


def _decoded_truth() -> dict[str, Measure]:
    from sap_llm.evaluation.layout import score_layout
    from sap_llm.evaluation.line_items import score_line_items
    from sap_llm.evaluation.tables import score_tables

    documents = _documents()
    truths = [annotation for _, annotation in documents]
    ours = [_decoded(*document, has_beginnings=True) for document in documents]
    rival = [_decoded(*document, has_beginnings=False) for document in documents]
    print(f"{len(documents)} documents")
    return {
        "line items of the truth decoded": higher_is_better(
            ours=score_line_items(truths, ours).f1, rival=score_line_items(truths, rival).f1, rival_name="geometry",
            unit="F1", runs=1,
        ),
        "tables of the truth decoded": higher_is_better(
            ours=score_tables(truths, ours).relations.f1, rival=1.0, rival_name="truth", unit="F1", runs=1
        ),
        "layout of the truth decoded": higher_is_better(
            ours=score_layout(truths, ours).overall.f1, rival=1.0, rival_name="truth", unit="F1", runs=1
        ),
    }  # fmt: skip


def _documents() -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    from sap_llm.synthetic.facts import BusinessFactsConfig
    from sap_llm.synthetic.stage import SyntheticDocsConfig
    from sap_llm.synthetic.stream import documents_of_worlds

    facts, look = (
        yaml.safe_load((ROOT / f"configs/tiny/{name}.yaml").read_text(encoding="utf-8"))
        for name in ("business_facts", "synthetic_docs")
    )
    tables = documents_of_worlds(
        range(WORLDS), BusinessFactsConfig.model_validate(facts), SyntheticDocsConfig.model_validate(look)
    )
    pages: dict[str, list[dict[str, Any]]] = {}
    for page in tables["pages"].to_pylist():
        pages.setdefault(page["document_id"], []).append(page)
    return [(pages[row["document_id"]], row) for row in tables["annotations"].to_pylist()]


def _decoded(rows: list[dict[str, Any]], annotation: dict[str, Any], *, has_beginnings: bool) -> dict[str, Any]:
    from sap_llm.modeling.candidates import Scroll
    from sap_llm.modeling.labels import BLOCK_KINDS, BLOCK_START, LINE_FIELDS, VALUE_START, default_labels
    from sap_llm.modeling.layout_decoding import decode_blocks
    from sap_llm.modeling.line_items import decode_line_items
    from sap_llm.modeling.normalise import manner_of
    from sap_llm.modeling.table_decoding import decode_tables
    from sap_llm.modeling.word_labels import word_labels
    from sap_llm.schema.page import Page

    rows = sorted(rows, key=lambda row: row["page_number"])
    labels, pages = word_labels(rows, annotation), [Page.from_row(row) for row in rows]
    starts = ((labels.starts[:, None] >> np.arange(BLOCK_START + 1)) & 1).astype(np.float32)
    scroll = Scroll.of(pages)
    begun = dataclasses.replace(scroll, begins=starts[:, VALUE_START]) if has_beginnings else scroll
    items = decode_line_items(
        pages, _certain(labels.line, 1 + len(LINE_FIELDS)), labels.row_start.astype(np.float32), default_labels(),
        scroll=begun, manner=manner_of(scroll.words),
    )  # fmt: skip
    tables = decode_tables(pages, labels.table.astype(np.float32), starts, scroll=scroll)
    blocks = decode_blocks(pages, _certain(labels.block, 1 + len(BLOCK_KINDS)), starts, scroll=scroll)
    found: dict[str, Sequence[Any]] = {"line_items": items, "tables": tables, "layout_blocks": blocks}
    return annotation | {name: [part.to_row() for part in parts] for name, parts in found.items()}


def _certain(labels: Any, width: int) -> Any:
    return np.eye(width, dtype=np.float32)[np.maximum(labels, 0)]
