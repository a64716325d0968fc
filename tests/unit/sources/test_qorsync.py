"""The QorSync export from local stores: a round trip without loss, and one quarantine row for each fault."""

import json
from pathlib import Path

import bson
import pytest

from sap_llm.reading.pdf import read_pdf
from sap_llm.schema.errors import SourceError
from sap_llm.sources.extraction import PayloadError, columns_of, words_in
from sap_llm.sources.qorsync import QorSync, RawExportsConfig, build_raw_exports
from sap_llm.sources.qorsync_seed import Seeded, seed_qorsync
from sap_llm.sources.qorsync_stores import Blobs
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import Dataset, DatasetStore
from tests.support.typeset_corpus import typeset_corpus, typeset_pdf


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "store"))


@pytest.fixture
def original(context: StageContext) -> Dataset:
    return typeset_corpus(context)


def _export(context: StageContext, seeded: Seeded, month: str = "2025-01", **changes: int) -> BuildResult:
    source = QorSync(
        relational=str(seeded.relational),
        documents=str(seeded.documents),
        blobs=str(seeded.blobs),
        graph=None,
        first_month="2025-01",
        work=seeded.relational.parent / "work",
    )
    return build_raw_exports(context, config=RawExportsConfig(**changes), source=source, month=month)  # type: ignore[arg-type]


def test_a_round_trip_loses_nothing(context: StageContext, original: Dataset, tmp_path: Path) -> None:
    seeded = seed_qorsync(tmp_path / "qorsync", dataset=original, graph=None, plant_faults=False)
    built = _export(context, seeded, batch_rows=4)
    assert (built.manifest.rows["documents"], built.manifest.rows["quarantine"]) == (6, 0)
    assert built.manifest.metrics["boxes_without_words"] == 0
    by_file = {row["sha256"]: row["document_id"] for row in original.table("documents").to_pylist()}
    old_id = {row["document_id"]: by_file[row["sha256"]] for row in built.dataset.table("documents").to_pylist()}
    old = {row["document_id"]: row for row in original.table("annotations").to_pylist()}
    for row in built.dataset.table("annotations").to_pylist():
        true = old[old_id[row["document_id"]]]
        assert row["document_id"] != true["document_id"]
        assert (row["source"], row["annotator"]) == ("export", "truth")
        for mine, theirs in zip(row["fields"], true["fields"], strict=True):
            assert mine | {"source": ""} == theirs | {"source": ""}
        for mine, theirs in zip(row["line_items"], true["line_items"], strict=True):
            assert [field["word_ids"] for field in mine["fields"]] == [field["word_ids"] for field in theirs["fields"]]


def test_each_planted_fault_is_found(context: StageContext, original: Dataset, tmp_path: Path) -> None:
    seeded = seed_qorsync(tmp_path / "qorsync", dataset=original, graph=None)
    built = _export(context, seeded)
    rows = built.dataset.table("quarantine").to_pylist()
    expected = {reason for reason in seeded.planted if reason != "dangling_reference"}  # that one needs the graph
    assert {row["reason"] for row in rows} == expected
    assert all(row["detail"] and row["record"] for row in rows)
    broken = next(row for row in rows if row["reason"] == "bad_json")
    assert json.loads(broken["payload"])["extraction"]["extractor"] == "qorsync-4"


def test_changed_bytes_and_missing_extractions_are_found(
    context: StageContext, original: Dataset, tmp_path: Path
) -> None:
    seeded = seed_qorsync(tmp_path / "qorsync", dataset=original, graph=None, plant_faults=False)
    documents = sorted(original.table("documents").to_pylist(), key=lambda row: row["document_id"])
    Path(Blobs(str(seeded.blobs)).path(documents[0]["sha256"])).write_bytes(b"%PDF-1.4 other bytes")
    dump = seeded.documents / "qorsync" / "extractions.bson"
    records = [record for record in bson.decode_all(dump.read_bytes()) if record["_id"] != documents[1]["document_id"]]
    dump.write_bytes(b"".join(bson.encode(record) for record in records))
    built = _export(context, seeded)
    assert {row["record"]: row["reason"] for row in built.dataset.table("quarantine").to_pylist()} == {
        documents[0]["document_id"]: "blob_mismatch",
        documents[1]["document_id"]: "no_extraction",
    }


def test_a_repaired_source_is_exported_again(context: StageContext, original: Dataset, tmp_path: Path) -> None:
    seeded = seed_qorsync(tmp_path / "qorsync", dataset=original, graph=None)
    assert _export(context, seeded).manifest.metrics["quarantined_missing_blob"] == 1
    assert _export(context, seeded).is_reused
    blobs = Blobs(str(seeded.blobs))
    for row in original.table("blobs").to_pylist():
        blobs.put(row["content"])
    assert "quarantined_missing_blob" not in _export(context, seeded).manifest.metrics


def test_missing_stores_are_named(context: StageContext, original: Dataset, tmp_path: Path) -> None:
    seeded = seed_qorsync(tmp_path / "qorsync", dataset=original, graph=None)
    dump = seeded.documents / "qorsync" / "extractions.bson"
    dump.write_bytes(dump.read_bytes()[:-7])
    with pytest.raises(SourceError, match="damaged BSON"):
        _export(context, seeded)
    dump.unlink()
    with pytest.raises(SourceError, match="no such BSON file"):
        _export(context, seeded)
    seeded.relational.unlink()
    with pytest.raises(SourceError):
        _export(context, seeded)


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", "{}", '{"document_type": "X", "fields": 3, "line_items": []}', "null"]
)
def test_payloads_that_are_no_extraction_are_refused(payload: str) -> None:
    with pytest.raises(PayloadError):
        columns_of(payload, [])


def test_words_in_a_box_spell_its_text() -> None:
    (page,), _ = read_pdf(typeset_pdf(1)[0], name="i.pdf")
    start = page.words.index("Kugellager")
    chosen = list(range(start, start + 4))
    assert words_in(page, page.union(chosen), "Kugellager 6204 mit Dichtung") == chosen
    everything = [0.0, 0.0, page.width, page.height]
    assert words_in(page, everything) == list(range(len(page.words)))
    assert words_in(page, everything, "Dichtring NBR") == [page.words.index("Dichtring"), page.words.index("NBR")]
    assert words_in(page, [0, 0, 1, 1], "nothing") == []
