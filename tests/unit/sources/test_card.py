"""The card of a corpus says what is in it, under which licence, what was refused; the catalogue knows every corpus."""

import io
import json
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from sap_llm.cli import build
from sap_llm.sources.catalogue import catalogue
from sap_llm.sources.filters import DocumentFilters
from sap_llm.sources.public import PublicDocsConfig, build_public_docs
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore


@pytest.fixture
def receipts(tmp_path: Path) -> Path:
    folder = tmp_path / "documents" / "sroie"
    for part in ("box", "key"):
        (folder / part).mkdir(parents=True)
    for index in range(8):
        seller = f"SHOP {'ABCDEFGH'[index]} SDN BHD"
        (folder / "box" / f"{index}.csv").write_text(
            f"0,0,200,0,200,10,0,10,{seller}\n0,20,90,20,90,30,0,30,TOTAL RM {index}.50 OF THE DAY\n"
        )
        key = {"company": seller, "date": "01/02/2018" if index == 1 else "", "address": "", "total": f"{index}.50"}
        (folder / "key" / f"{index}.json").write_text(json.dumps(key))
    (folder / "box" / "7.csv").write_text("0,0,9,0,9,10,0,10,X|Y\n")
    (folder / "key" / "9.json").write_text("{}")
    return folder.parent


def _build(tmp_path: Path, folder: Path, **filters: object) -> BuildResult:
    config = PublicDocsConfig(filters=DocumentFilters.model_validate(filters))
    context = StageContext(store=DatasetStore(tmp_path / "store"))
    return build_public_docs(context, config=config, corpus="sroie", folder=folder)


def test_the_card_tells_what_the_tables_hold(tmp_path: Path, receipts: Path) -> None:
    built = _build(tmp_path, receipts, min_characters=20)
    text = built.dataset.path("report.md").read_text(encoding="utf-8")
    metrics = built.manifest.metrics
    assert (metrics["read"], metrics["documents"], metrics["quarantined"]) == (9, 7, 2)
    for row in (
        "| read | 9 |",
        "| kept | 7 |",
        "| refused | 2 |",
        "| RECEIPT | 7 |",
        "| en | 7 |",
        "| total_amount | 7 | 7 of 7 |",
        "| document_date | 1 | 0 of 1 |",
        "| key/1.json |  | document_date | 2018-02-01 | not_printed |",
        "| short_text | 1 | key/7.json: 3 characters are fewer than 20. |",
        "| true values that words show | 14 of 15 (93.3%) |",
        "| near-duplicate groups | 1, with 7 documents |",
    ):
        assert row in text, row
    assert "Licence: **CC-BY-4.0**" in text
    assert "Role: **train**" in text
    with Image.open(io.BytesIO(built.dataset.path("pages.png").read_bytes())) as sheet:
        assert sheet.size == (630, 560)


def test_nothing_is_lost_whatever_the_filters(tmp_path: Path, receipts: Path) -> None:
    for filters in ({}, {"min_quality": 1.0}, {"min_characters": 30}, {"languages": ["de"]}, {"needs_truth": True}):
        built = _build(tmp_path, receipts, **filters)
        rows = built.manifest.rows
        assert rows["documents"] + rows["quarantine"] == built.manifest.metrics["read"] == 9
        reasons = built.dataset.table("quarantine").to_pylist()
        assert all(row["reason"] and row["detail"] for row in reasons)
        if filters == {"languages": ["de"]}:
            assert rows["documents"] == 0  # receipts of SROIE are English
            assert "pages.png" not in built.manifest.files


def test_the_command_prints_the_card(tmp_path: Path, receipts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")
    monkeypatch.setenv("SAP_LLM_DOCUMENTS", str(receipts))
    app = typer.Typer()
    build.register(app)
    app.command("other")(lambda: None)  # a single group would be taken for the program itself
    result = CliRunner().invoke(app, ["build", "public-docs"])
    assert result.exit_code == 0, result.output
    assert "SROIE (ICDAR 2019)" in result.output
    assert "CC-BY-4.0" in result.output
    assert "pages.png" not in result.output


def test_every_corpus_has_its_licence_with_its_source() -> None:
    for name, facts in catalogue().items():
        assert facts.licence, name
        assert facts.terms, name
        assert facts.origin, name
        assert (facts.repository is not None) == name.startswith("hub-")
    assert all(facts.role == "test_only" for facts in catalogue().values() if "research only" in facts.licence)
