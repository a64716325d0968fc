"""The stage `sap_knowledge`: tables, texts and the report of unmatched fields; same content, same version."""

import json
from pathlib import Path
from typing import Any

import pytest

from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.sources.edmx import Property
from sap_llm.sources.knowledge import SapKnowledgeConfig, available_metadata, build_sap_knowledge
from sap_llm.sources.taxonomy_match import Match, TaxonomyIndex, released_names, words
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.metadata_site import Server, document, says

QUICK = {"retry_seconds": 0.01, "attempts": 2}


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "store"))


def _build(context: StageContext, home: Path, *, documents: Path | None = None, **values: Any) -> BuildResult:
    config = SapKnowledgeConfig.model_validate({"fetch": QUICK, **values})
    return build_sap_knowledge(context, config=config, home=home, documents=documents, cache=home / "cache")


def _rows(built: BuildResult, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = built.dataset.table(table).to_pylist()
    return rows


def test_a_folder_becomes_tables_texts_and_a_report(context: StageContext, tmp_path: Path) -> None:
    folder = tmp_path / "edmx"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a.edmx").write_bytes(document("A"))
    (folder / "b.XML").write_bytes(document("B"))
    (folder / "c.edmx").write_bytes(document("A"))
    (folder / "bad.edmx").write_bytes(b"<html/>")
    (folder / "long.edmx").write_bytes(document("L") + b" " * 5000)
    (folder / "readme.txt").write_text("no metadata")
    built = _build(context, tmp_path, folder="edmx", fetch=QUICK | {"max_bytes": 2000})
    assert [row["service"] for row in _rows(built, "services")] == ["b.XML", "c.edmx"]
    assert {row["source"]: row["reason"] for row in _rows(built, "quarantine")} == {
        "bad.edmx": "not_edmx",
        "deep/a.edmx": "duplicate",
        "long.edmx": "too_large",
    }
    assert all("Remove" in row["detail"] or "Raise" in row["detail"] or "Give" in row["detail"]
               for row in _rows(built, "quarantine"))  # fmt: skip
    (entity, _) = _rows(built, "entity_types")
    assert (entity["entity_type"], entity["keys"]) == ("T", ["EBELN"])
    (item, _) = _rows(built, "properties")
    assert item["taxonomy_fields"] == ["document_number", "order_reference", "line_order_reference"]
    (text, _) = _rows(built, "corpus")
    assert text["text"].splitlines() == [
        "T (T) is an entity type of the SAP service B.",
        "A record is identified by Ebeln (EBELN).",
        "Ebeln (EBELN): It is a text and is part of the key.",
    ]
    unmatched = {row["field"]: row for row in _rows(built, "unmatched")}
    matched = {row["field"] for row in _rows(built, "matched")}
    assert matched | set(unmatched) == {spec.name for spec in load_taxonomy().fields}
    assert not matched & set(unmatched)
    assert unmatched["currency"]["reason"] == "no_property"
    assert unmatched["currency"]["sought"][:2] == ["WAERS", "DocumentCurrency"]
    assert unmatched["document_title"]["reason"] == "no_sap_name"
    report = built.dataset.path("report.md").read_text()
    assert "| currency | EKKO-WAERS | no_property | WAERS, DocumentCurrency" in report
    assert "duplicate" in report


def test_the_real_services_and_what_they_lack(context: StageContext, tmp_path: Path, shared_data: Path) -> None:
    if len(available_metadata(shared_data)) != 16:
        pytest.skip(f"not the 16 .edmx files at {shared_data}")
    built = _build(context, tmp_path, documents=shared_data)
    assert {
        name: count for name, count in built.manifest.rows.items() if name not in ("matched", "unmatched")
    } == {
        "services": 16,
        "entity_types": 223,
        "properties": 4249,
        "navigation": 254,
        "value_lists": 0,
        "corpus": 223,
        "help_pages": 0,
        "help_fields": 0,
        "quarantine": 0,
    }  # fmt: skip
    metrics = built.manifest.metrics
    assert metrics["labelled_share"] == pytest.approx(0.968, abs=1e-3)
    assert metrics["matched_share"] >= 0.7
    assert metrics["matched_sap_share"] >= 0.82
    (text,) = (
        row["text"]
        for row in _rows(built, "corpus")
        if "PURCHASEORDER" in row["service"] and row["entity_type"] == "A_PurchaseOrderItemType"
    )
    assert "Net Price in Purchasing Document (in Document Currency)." in text
    assert "given in Currency (DocumentCurrency)" in text
    unmatched = {row["field"] for row in _rows(built, "unmatched")}
    assert {"trip_number", "tracking_number", "document_title"} <= unmatched, "no service of travel or transport"
    assert not {"document_number", "line_unit_price", "seller_vat_id", "iban", "movement_type"} & unmatched


def test_addresses_are_read_and_the_cache_gives_the_same_version(
    context: StageContext, tmp_path: Path, site: Server
) -> None:
    site.answers |= {
        "/a/$metadata": lambda at, count: at.say(200, document("A"), ETag='"1"') if count == 1 else at.say(304),
        "/b/$metadata": says(200, document("B")),
    }
    urls = [site.url("/a/$metadata"), site.url("/b/$metadata")]
    first = _build(context, tmp_path, urls=urls)
    assert [row["service"] for row in _rows(first, "services")] == urls
    assert _build(context, tmp_path, urls=urls).is_reused
    asked = len(site.asked)
    offline = _build(context, tmp_path, urls=urls, fetch=QUICK | {"is_offline": True})
    assert len(site.asked) == asked
    assert offline.manifest.data_version == first.manifest.data_version
    turned = _build(context, tmp_path, urls=urls[::-1])
    assert turned.manifest.data_version == first.manifest.data_version
    other = StageContext(store=DatasetStore(tmp_path / "elsewhere"))
    assert _build(other, tmp_path, urls=urls).ref == first.ref


def test_changed_content_is_another_version_and_failures_are_rows(
    context: StageContext, tmp_path: Path, site: Server
) -> None:
    site.answers["/a"] = lambda at, count: at.say(200, document("A" if count < 2 else "A2"))
    urls = [site.url("/a"), site.url("/gone")]
    first, second = (_build(context, tmp_path, urls=urls) for _ in range(2))
    assert not second.is_reused
    assert first.manifest.data_version != second.manifest.data_version
    (row,) = _rows(second, "quarantine")
    assert (row["record"], row["reason"]) == (site.url("/gone"), "not_found")
    assert "Correct the list" in row["detail"]


def test_nothing_to_read_is_said_and_leaves_nothing(context: StageContext, tmp_path: Path, site: Server) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="no SAP metadata") as caught:
        _build(context, tmp_path)
    assert "SAP_LLM_DOCUMENTS" in caught.value.remedy
    with pytest.raises(ConfigurationError, match="no SAP metadata"):
        _build(context, tmp_path, documents=tmp_path / "empty")
    with pytest.raises(ConfigurationError, match="no such folder"):
        _build(context, tmp_path, folder="missing")
    with pytest.raises(SourceError, match="no \\$metadata file"):
        _build(context, tmp_path, folder="empty")
    with pytest.raises(SourceError, match="none of 1 documents could be had"):
        _build(context, tmp_path, urls=[site.url("/gone")])
    (tmp_path / "empty/x.edmx").write_text("x")
    with pytest.raises(SourceError, match="none of 1 documents could be read"):
        _build(context, tmp_path, folder="empty")
    assert context.store.names() == []


def test_a_property_is_matched_by_the_strongest_rule() -> None:
    index = TaxonomyIndex(load_taxonomy().fields)
    assert index.of(Property(name="BEDAT")) == [Match(field="document_date", rule="technical")]
    assert Match(field="purchasing_organization", rule="technical") in index.of(
        Property(name="X", data_element="EKORG_LL")
    )
    assert index.of(Property(name="PurchaseOrderDate")) == [Match(field="document_date", rule="released")]
    assert index.of(Property(name="X", label="Bill of Lading Number")) == [
        Match(field="bill_of_lading_number", rule="words")
    ]
    assert Match(field="payment_terms", rule="released") in index.of(Property(name="PaymentTerms"))
    assert index.of(Property(name="Number", label="Note", quickinfo="Unit")) == [], "one word left of line_note"
    assert index.of(Property(name="")) == []
    assert words("PurchaseOrderDate") == words("purchase_order_date") == words("Purchase Order Date")


def test_released_names_are_names_of_fields_that_the_taxonomy_has() -> None:
    from sap_llm.sources import taxonomy_match

    known = {spec.sap for spec in load_taxonomy().fields if spec.sap}
    known |= {taxonomy_match.column(name) for name in known}
    listed = taxonomy_match._names()
    assert set(listed) <= known
    assert all(name.isidentifier() for names in listed.values() for name in names)
    assert released_names("EKKO-EBELN") == ("PurchaseOrder", "PurchasingDocument")
    assert released_names("XXXX-YYYY") == ()


@pytest.mark.parametrize("profile", ["seconds", "tiny", "gpu"])
def test_every_profile_reads_nothing_by_itself(profile: str) -> None:
    config = Deployment.load(profile).config(SapKnowledgeConfig, "sap_knowledge")
    assert (config.folder, config.urls, config.fetch.max_concurrent) == (None, (), 10)
    assert json.dumps(config.model_dump(mode="json"))
