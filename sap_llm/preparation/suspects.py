"""The suspects of a release: a sample of its labels looked through for errors before training.

Belongs here: which documents are looked at, their text, and the table. What makes a label suspicious is `label_errors`;
nothing is left out or mended here, people decide.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.evaluation.fields import score_fields
from sap_llm.evaluation.test_set import most_trusted
from sap_llm.preparation.label_errors import (
    confident_joint,
    field_suspects,
    margins,
    out_of_fold,
    suspect_labels,
)
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.markdown import table
from sap_llm.schema.releases import SUSPECTS
from sap_llm.schema.tables import conform
from sap_llm.storage.store import DatasetStore

_SHOWN = 10
_DIGITS = 3  # of a score: sums of floats differ in their last digits between machines


def find_suspects(
    store: DatasetStore,
    annotated: DatasetRef,
    corpora: Mapping[str, DatasetRef],
    *,
    most_documents: int,
    folds: int,
    seed: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Look through the truths of at most so many documents.

    Args:
        store: Where the datasets are.
        annotated: `annotated_docs/<release>`.
        corpora: Input datasets by name, for the text.
        most_documents: Documents that are looked at, chosen by their id and the seed; 0 for none.
        folds: Of the classifier; classes with fewer documents than that are not judged.
        seed: Of choice, folds and training.

    Returns:
        Rows of `releases.SUSPECTS`, and numbers for the manifest.
    """
    dataset = store.open(annotated)
    documents = dataset.scan("documents").to_table(columns=["document_id", "input"], filter=pc.field("has_truth"))
    documents = _sample(documents, most_documents, seed)
    about = dataset.scan("annotations").to_table(
        filter=pc.field("document_id").isin(documents.column("document_id").combine_chunks())
    )
    truths = most_trusted(about)
    inputs = dict(zip(*(documents.column(name).to_pylist() for name in ("document_id", "input")), strict=True))
    labels = dict(zip(*(truths.column(name).to_pylist() for name in ("document_id", "document_type")), strict=True))
    classes, metrics = _class_rows(_texts(store, documents, corpora), labels, folds, seed)
    fields = _field_rows(truths, about)
    rows = [row | {"input": inputs[row["document_id"]]} for row in [*classes, *fields]]
    return conform(rows, SUSPECTS), metrics | {"suspects_class": len(classes), "suspects_field": len(fields)}


def said(suspects: pa.Table, metrics: Mapping[str, Any]) -> str:
    """A section of the release's report: numbers, and the first of each kind."""
    shown = []
    for kind in ("class", "field"):
        own = suspects.filter(pc.equal(suspects.column("kind"), kind)).slice(0, _SHOWN).to_pylist()
        shown += [
            [row["document_id"], row["field"] or "class", row["label"], row["suggested"], f"{row['score']:.2f}"]
            for row in own
        ]
    head = (
        f"{metrics['labels_judged']:,} classes were judged by confident learning; about "
        f"{metrics['label_error_share']:.1%} of them are estimated to be wrong, an upper estimate where the light "
        f"classifier itself errs. Suspects for people to look at: {metrics['suspects_class']:,} classes, "
        f"{metrics['suspects_field']:,} field values."
    )
    return "\n\n".join([head, table(["document", "what", "label", "suggested", "score"], shown)] if shown else [head])


def _sample(documents: pa.Table, most: int, seed: int) -> pa.Table:
    ids = documents.column("document_id").to_pylist()
    order = sorted(range(len(ids)), key=lambda row: hashlib.sha256(f"{seed}:{ids[row]}".encode()).digest())
    return documents.take(pa.array(order[:most], pa.int64())).sort_by("document_id")


def _texts(store: DatasetStore, documents: pa.Table, corpora: Mapping[str, DatasetRef]) -> dict[str, str]:
    """Words of each document that has pages, by id, sorted."""
    texts: dict[str, list[str]] = {}
    for name in sorted(set(documents.column("input").to_pylist())):
        own = documents.filter(pc.equal(documents.column("input"), name)).column("document_id").combine_chunks()
        pages = (
            store.open(corpora[name])
            .scan("pages")
            .to_table(columns=["document_id", "page_number", "words"], filter=pc.field("document_id").isin(own))
        )
        pages = pages.sort_by([("document_id", "ascending"), ("page_number", "ascending")])
        words = pc.binary_join(pages.column("words"), " ").to_pylist()
        for document_id, text in zip(pages.column("document_id").to_pylist(), words, strict=True):
            texts.setdefault(document_id, []).append(text)
    return {document_id: " ".join(parts) for document_id, parts in sorted(texts.items())}


def _class_rows(
    texts: Mapping[str, str], labels: Mapping[str, str], folds: int, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    sizes = Counter(labels[document_id] for document_id in texts)
    judged = [document_id for document_id in texts if sizes[labels[document_id]] >= folds]
    names = sorted({labels[document_id] for document_id in judged})
    if len(names) < 2:  # nothing to confuse
        return [], {"labels_judged": 0, "label_error_share": 0.0}
    codes = np.array([names.index(labels[document_id]) for document_id in judged])
    probabilities = out_of_fold([texts[document_id] for document_id in judged], codes, folds=folds, seed=seed)
    joint = confident_joint(codes, probabilities)
    flags, margin = suspect_labels(codes, probabilities, joint), margins(codes, probabilities)
    others = probabilities.copy()
    others[np.arange(len(codes)), codes] = -1.0
    rows = [
        {
            "document_id": judged[row],
            "kind": "class",
            "label": names[codes[row]],
            "suggested": names[others[row].argmax()],
            "score": round(float(margin[row]), _DIGITS),
        }
        for row in np.flatnonzero(flags).tolist()
    ]
    rows.sort(key=lambda row: (-row["score"], row["document_id"]))
    return rows, {"labels_judged": len(judged), "label_error_share": round(joint.error_share, _DIGITS)}


def _field_rows(truths: pa.Table, about: pa.Table) -> list[dict[str, Any]]:
    guesses = about.filter(pc.equal(about.column("source"), "model"))
    known = pa.array(guesses.column("document_id").unique().to_pylist(), pa.string())
    scores = score_fields(truths.filter(pc.is_in(truths.column("document_id"), value_set=known)), guesses)
    return [
        {
            "document_id": suspect.document_id,
            "kind": "field",
            "field": suspect.field,
            "label": suspect.label,
            "suggested": suspect.suggested,
            "score": round(suspect.confidence, _DIGITS),
        }
        for suspect in field_suspects(scores)
    ]
