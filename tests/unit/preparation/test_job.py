"""One Spark job decides the same whatever the partitions, accounts for every row, and survives odd documents."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sap_llm.preparation.launch import read_prepared, run_job
from sap_llm.preparation.plan import Cleaning, JobPlan, PagesInput, SparkSettings
from sap_llm.preparation.splits import SplitShares
from sap_llm.schema.releases import ANNOTATED_DOCUMENTS
from sap_llm.schema.tables import PAGES, conform
from tests.support.toy_corpus import identifier, page, toy_document

_CHANCE = random.Random(11)
_VOCABULARY = [f"{start}{end}" for start in ("rech", "lief", "best", "zahl", "konto") for end in range(200)]


def _text() -> str:
    return " ".join(_CHANCE.choices(_VOCABULARY, k=120))


def _other_words(text: str, count: int) -> str:
    words = text.split()
    for place in _CHANCE.sample(range(len(words)), count):
        words[place] = "gelesen"
    return " ".join(words)


def _corpus() -> tuple[list[dict[str, Any]], dict[str, tuple[str, str, str | None]]]:
    """Documents, and what must become of some: name -> status, reason, name of the keeper."""
    form = _text()
    tested = _text()
    documents = [toy_document(f"plain {number}", text=_text()) for number in range(30)]
    documents += [
        toy_document("form", text=form),
        toy_document("form read again", text=_other_words(form, 2)),
        toy_document("form read badly", text=_other_words(form, 40)),
        toy_document("form printed", text=form.upper().replace(" ", "  ")),
        toy_document("form, other number", text=_other_words(form, 12)),
        toy_document("tested", text=tested, role="test_only"),
        toy_document("tested, seen in training", text=_other_words(tested, 2)),
        toy_document("tested again", text=_other_words(tested, 1), role="test_only"),
        toy_document("ten megabytes", text=" ".join(_CHANCE.choices(_VOCABULARY, k=1_400_000))),
        toy_document("no page", text=""),
        toy_document("no page, says its row", text=_text(), page_count=0),
        toy_document("not a number", text=_text(), quality=float("nan")),
        toy_document("at the limit", text=_text(), quality=0.8),
    ]
    one, other = toy_document("twice", text=_text()), toy_document("twice", text=_text())
    same = toy_document("same row twice", text=_text())
    first = min(("form", "form read again", "form printed"), key=identifier)
    group = dict.fromkeys(("form", "form read again", "form printed"), ("duplicate", "near_duplicate", first))
    return [*documents, one, other, same, dict(same)], group | {
        first: ("kept", None, None),
        "form read badly": ("kept", None, None),
        "form, other number": ("kept", None, None),
        "tested": ("kept", None, None),
        "tested again": ("kept", None, None),
        "tested, seen in training": (
            "duplicate",
            "near_duplicate",
            min(("tested", "tested again"), key=identifier),
        ),
        "ten megabytes": ("kept", None, None),
        "no page": ("quarantined", "no_pages", None),
        "no page, says its row": ("quarantined", "no_pages", None),
        "not a number": ("quarantined", "low_quality", None),
        "at the limit": ("quarantined", "low_quality", None),
    }


def _prepare(folder: Path, documents: list[dict[str, Any]], *, partitions: int) -> pa.Table:
    folder.mkdir()
    rows = [{name: row.get(name) for name in ANNOTATED_DOCUMENTS.names} for row in documents]
    extra = {"input": "raw_exports/2026-01", "has_truth": True, "is_flagged": False}
    pq.write_table(conform([row | extra for row in rows], ANNOTATED_DOCUMENTS), folder / "documents.parquet")
    named = {row["document_id"]: row for row in documents if row["text"]}
    pages = [_page(row) for row in named.values()]
    pq.write_table(conform(pages, PAGES), folder / "pages.parquet")
    run_job(
        JobPlan(
            documents=str(folder / "documents.parquet"),
            pages=[PagesInput(input="raw_exports/2026-01", path=str(folder / "pages.parquet"))],
            output=str(folder / "out"),
            rows=len(documents),
            classes=["PURCHASE_ORDER", "SUPPLIER_INVOICE"],
            cleaning=Cleaning(),
            near_duplicates_from=0.8,
            shares=SplitShares(),
            seed=7,
            spark=SparkSettings(master="local[2]", shuffle_partitions=partitions),
        )
    )
    return read_prepared(str(folder / "out"))


def _page(row: dict[str, Any]) -> dict[str, Any]:
    """The words alone where boxes would only cost time."""
    if len(row["text"]) < 10_000:
        return page(row)
    return page(row | {"text": "x"}) | {"words": row["text"].split()}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_row_gets_one_decision_whatever_order_and_partitions(tmp_path: Path) -> None:
    documents, expected = _corpus()
    found = _prepare(tmp_path / "one", documents, partitions=1)
    assert found.column("row").to_pylist() == list(range(len(documents)))
    rows = found.to_pylist()
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_id.setdefault(row["document_id"], []).append(row)
    for name, (status, reason, keeper) in expected.items():
        (row,) = by_id[identifier(name)]
        told = (row["status"], row["reason"], row["kept_document_id"])
        assert told == (status, reason, keeper and identifier(keeper)), name
    for name in ("twice", "same row twice"):
        assert sorted(str(row["reason"]) for row in by_id[identifier(name)]) == ["None", "duplicate_id"]
    (large,) = by_id[identifier("ten megabytes")]
    assert large["character_count"] > 10_000_000
    assert large["word_count"] == 1_400_000

    order = np.random.default_rng(3).permutation(len(documents)).tolist()
    other = _prepare(tmp_path / "five", [documents[place] for place in order], partitions=5)
    keys = [("document_id", "ascending"), ("reason", "ascending"), ("text_sha256", "ascending")]
    assert other.drop_columns("row").sort_by(keys) == found.drop_columns("row").sort_by(keys)
