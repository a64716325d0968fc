"""Public corpora: real files against stored counts, roles, groups; broken files cost one quarantine row each."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pytest
from PIL import Image

from sap_llm.evaluation.fields import REPORTED_FIELDS
from sap_llm.evaluation.line_items import LINE_FIELDS
from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.schema.tables import CORPUS
from sap_llm.sources.catalogue import catalogue
from sap_llm.sources.hub import HUB_CORPORA
from sap_llm.sources.public import READERS, PublicDocsConfig, available_corpora, build_public_docs, fingerprint
from sap_llm.sources.sroie import page_of_lines, parse_lines, split_line
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.typeset_corpus import typeset_pdf

_XML = """<CrossIndustryInvoice><ExchangedDocument><ID>{number}</ID><TypeCode>380</TypeCode></ExchangedDocument>
<SupplyChainTradeTransaction><ApplicableHeaderTradeAgreement><SellerTradeParty><Name>{seller}</Name></SellerTradeParty>
</ApplicableHeaderTradeAgreement><ApplicableHeaderTradeSettlement><InvoiceCurrencyCode>EUR</InvoiceCurrencyCode>
<SpecifiedTradeSettlementHeaderMonetarySummation><GrandTotalAmount>{total}</GrandTotalAmount>
</SpecifiedTradeSettlementHeaderMonetarySummation></ApplicableHeaderTradeSettlement></SupplyChainTradeTransaction>
</CrossIndustryInvoice>"""


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "store"))


def _e_invoice(number: int, *, xml: str | None) -> bytes:
    document = pdfium.PdfDocument(typeset_pdf(number)[0])
    if xml is not None:
        document.new_attachment("factur-x.xml").set_data(xml.encode())
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


@pytest.fixture
def e_invoices(tmp_path: Path) -> Path:
    folder = tmp_path / "zugferd-corpus"
    for part in ("good", "some-fail"):
        (folder / part).mkdir(parents=True)
    good = _XML.format(number="RE-1", seller="Nordwind Handel GmbH", total="267.75")
    files = {
        "good/1.pdf": _e_invoice(1, xml=good),
        "good/2-wrong-truth.pdf": _e_invoice(2, xml=_XML.format(number="X-77", seller="Other", total="999.99")),
        "good/3-no-xml.pdf": _e_invoice(3, xml=None),
        "good/4-bad-xml.pdf": _e_invoice(4, xml="<CrossIndustryInvoice>"),
        "good/5-broken.pdf": b"%PDF-1.4 broken",
        "some-fail/6.pdf": _e_invoice(1, xml=good),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "good/7-copy.pdf").write_bytes(files["good/1.pdf"])
    return folder


def _build(context: StageContext, corpus: str, folder: Path | None, **changes: Any) -> BuildResult:
    return build_public_docs(context, config=PublicDocsConfig(**changes), corpus=corpus, folder=folder)


def test_each_bad_file_costs_one_quarantine_row_with_its_reason(context: StageContext, e_invoices: Path) -> None:
    built = _build(context, "zugferd", e_invoices)
    rows = built.dataset.table("quarantine").to_pylist()
    assert {row["source"]: row["reason"] for row in rows} == {
        "good/2-wrong-truth.pdf": "truth_mismatch",
        "good/3-no-xml.pdf": "no_xml",
        "good/4-bad-xml.pdf": "bad_xml",
        "good/5-broken.pdf": "unreadable",
        "good/7-copy.pdf": "duplicate",
        "some-fail/6.pdf": "invalid_upstream",
    }
    assert all(row["detail"] for row in rows)
    (document,) = built.dataset.table("documents").to_pylist()
    assert (document["role"], document["document_type"], document["language"]) == (
        "test_only",
        "SUPPLIER_INVOICE",
        "de",
    )
    (blob,) = built.dataset.table("blobs").to_pylist()
    assert blob["content"] == (e_invoices / "good/1.pdf").read_bytes()
    assert blob["sha256"] == document["sha256"]
    assert built.manifest.metrics["alignment_rate"] == 1.0


def test_the_same_files_are_reused_and_changed_ones_are_not(context: StageContext, e_invoices: Path) -> None:
    first = _build(context, "zugferd", e_invoices)
    assert _build(context, "zugferd", e_invoices.parent).is_reused  # the collection that holds the corpus
    before = fingerprint(e_invoices)
    (e_invoices / "good/8.pdf").write_bytes(_e_invoice(8, xml=None))
    assert fingerprint(e_invoices) != before
    second = _build(context, "zugferd", e_invoices)
    assert not second.is_reused
    assert second.ref != first.ref


def test_wrong_names_and_folders_are_named(context: StageContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no corpus"):
        _build(context, "nothing", tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        _build(context, "sroie", tmp_path / "missing")
    with pytest.raises(SourceError, match="needs a folder"):
        _build(context, "sroie", None)
    with pytest.raises(SourceError, match="no document found"):
        _build(context, "sroie", tmp_path)
    assert context.store.names() == []


def test_roles_are_those_of_the_architecture() -> None:
    roles = {name: facts.role for name, facts in catalogue().items()}
    assert {name for name, role in roles.items() if role == "train"} == {
        "sroie",
        "hub-sroie",
        "hub-cord",
        "hub-rvl-cdip",
    }
    assert roles.keys() == READERS.keys()


def test_a_receipt_line_becomes_words_in_proportion() -> None:
    lines = parse_lines(b"0,0,100,0,100,10,0,10,AB, CD\n\n0,20,100,20,100,30,0,30,12.00\n")
    assert [line[4] for line in lines] == ["AB, CD", "12.00"]
    assert list(split_line("AB, CD", 0.0, 60.0)) == [("AB,", 0.0, 30.0), ("CD", 40.0, 60.0)]
    page = page_of_lines(lines, size=(200, 100))
    assert (page.width, page.height) == (200.0, 100.0)  # lines are 10 pixels high: scale 1
    assert page.words == ["AB,", "CD", "12.00"]
    assert page.lines.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="eight"):
        parse_lines(b"1,2,3,text")


def test_groups_never_mix_roles_and_stay_when_documents_come(context: StageContext, tmp_path: Path) -> None:
    folder = tmp_path / "sroie"
    for part in ("box", "key"):
        (folder / part).mkdir(parents=True)
    for index in range(60):
        seller = f"SHOP {'ABCDEFGHIJKLMNOPQRST'[index % 20]} TRADING SDN BHD"
        items = " ".join(seller[5] * size for size in range(2, 12))
        (folder / "box" / f"{index:03}.csv").write_text(
            f"0,0,200,0,200,10,0,10,{seller}\n0,20,90,20,90,30,0,30,TOTAL RM {index}.50\n"
            f"0,40,9,40,9,50,0,50,01/02/2018\n0,60,9,60,9,70,0,70,{items}\n"
        )
        key = {"company": seller, "date": "01/02/2018", "address": "", "total": f"{index}.50"}
        (folder / "key" / f"{index:03}.json").write_text(json.dumps(key))
    documents = _build(context, "sroie", folder, develop_share=0.4).dataset.table("documents").to_pylist()
    by_group: dict[str, set[str]] = {}
    for row in documents:
        by_group.setdefault(row["split_group"], set()).add(row["role"])
    assert len(documents) == 60
    assert {role for roles in by_group.values() for role in roles} == {"train", "develop"}
    assert all(len(roles) == 1 for roles in by_group.values())
    fewer = _build(context, "sroie", folder, develop_share=0.4, max_documents=30).dataset.table("documents").to_pylist()
    roles = {row["document_id"]: row["role"] for row in documents}
    assert len(fewer) == 30
    assert all(roles[row["document_id"]] == row["role"] for row in fewer)


def test_real_e_invoices_and_orders_are_aligned(context: StageContext, shared_data: Path) -> None:
    invoices, orders = (_build(context, name, shared_data) for name in ("zugferd", "order-x"))
    paged = [
        sum(row["page_count"] > 0 for row in built.dataset.table("documents").to_pylist())
        for built in (invoices, orders)
    ]
    assert paged == [48, 20]
    for name, least in (("document_number", 0.93), ("total_amount", 1.0), ("seller_vat_id", 1.0), ("iban", 1.0)):
        assert invoices.manifest.metrics[f"printed_{name}"] >= least
    assert invoices.manifest.metrics["alignment_rate"] >= 0.88
    assert orders.manifest.metrics["alignment_rate"] >= 0.96
    assert _scored(invoices) == (1170, 1290)  # of the fields that models are scored on
    assert _scored(orders) == (561, 561)
    types = Counter(row["document_type"] for row in orders.dataset.table("documents").to_pylist())
    assert types == {"ORDER_RESPONSE": 14, "PURCHASE_ORDER": 4, "ORDER_CHANGE": 2}
    documents = invoices.dataset.table("documents").to_pylist()
    groups = Counter(row["split_group"] for row in documents if row["page_count"])
    assert groups["zugferd:lieferant"] == 16
    assert groups["zugferd:au-bon-moulin"] == 5
    _check_places(invoices)
    listed = [json.loads(line) for line in invoices.dataset.path("unprinted.jsonl").read_text().splitlines()]
    assert "iban" not in {entry["field"] for entry in listed}
    assert any(entry["field"] == "line_unit" and entry["line"] for entry in listed)


def test_real_receipts_forms_and_samples(context: StageContext, shared_data: Path) -> None:
    receipts = _build(context, "sroie", shared_data, max_documents=120)
    assert receipts.manifest.rows["documents"] == 120
    assert receipts.manifest.metrics["printed_total_amount"] >= 0.98
    pages = receipts.dataset.table("pages").to_pylist()
    blobs = {row["sha256"]: row["media_type"] for row in receipts.dataset.table("blobs").to_pylist()}
    assert sum(page["image_sha256"] is not None for page in pages) == 90
    assert Counter(blobs.values()) == {"image/jpeg": 90, "text/csv": 30}
    assert all(page["image_sha256"] is None or page["image_sha256"] in blobs for page in pages)
    _check_places(receipts)
    assert _build(context, "invoice2data", shared_data).manifest.rows["documents"] == 9
    assert _build(context, "funsd", shared_data, max_documents=5).manifest.metrics["documents_FORM"] == 5
    assert set(available_corpora(shared_data)) == {
        *("zugferd", "order-x", "invoice2data", "funsd", "sroie"),
        *("xrechnung", "en16931", "peppol-billing", "peppol-ordering", "peppol-logistics"),
    }


def _scored(built: BuildResult) -> tuple[int, int]:
    """How many true values of scored fields are printed, and how many there are."""
    fields = {*REPORTED_FIELDS, *LINE_FIELDS, "line_number"}
    paged = {row["document_id"] for row in built.dataset.table("documents").to_pylist() if row["page_count"]}
    rows = built.dataset.table("annotations").to_pylist()
    found = [
        field for row in rows if row["document_id"] in paged for field in _all_fields(row) if field["field"] in fields
    ]
    return sum(field["printed"] is not None for field in found), len(found)


def _all_fields(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    return annotation["fields"] + [field for item in annotation["line_items"] for field in item["fields"]]


def _check_places(built: BuildResult) -> None:
    """Every printed text stands at its words, inside the page."""
    assert built.dataset.manifest.rows.keys() == CORPUS.keys()
    pages = {(row["document_id"], row["page_number"]): row for row in built.dataset.table("pages").to_pylist()}
    for row in built.dataset.table("annotations").to_pylist():
        for field in _all_fields(row):
            if field["printed"] is None:
                assert field["box"] is None
                continue
            page = pages[row["document_id"], field["page"]]
            assert field["printed"] == " ".join(page["words"][index] for index in field["word_ids"])
            assert field["box"][0] < page["width"]
            assert field["box"][1] < page["height"]


@pytest.mark.parametrize("corpus", sorted(HUB_CORPORA))
def test_hub_corpora_saved_to_disk_are_read_alike(context: StageContext, tmp_path: Path, corpus: str) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / corpus
    datasets.Dataset.from_list([_hub_record(corpus)]).save_to_disk(folder)
    built = _build(context, corpus, folder)
    if corpus == "hub-rvl-cdip":  # a picture without words: OCR reads it, or says what is missing
        assert built.manifest.rows["documents"] + built.manifest.rows["quarantine"] == 1
        return
    (document,) = built.dataset.table("documents").to_pylist()
    (annotation,) = built.dataset.table("annotations").to_pylist()
    (page,) = built.dataset.table("pages").to_pylist()
    amount = "12.500" if corpus == "hub-cord" else "12.50"
    assert page["words"] == ["TOTAL", amount]
    assert document["sha256"] == page["image_sha256"]
    if corpus != "hub-funsd":
        assert [(field["field"], field["printed"]) for field in annotation["fields"]] == [("total_amount", amount)]


def test_without_network_the_hub_says_so(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="cannot be opened") as caught:
        _build(context, "hub-cord", None)
    assert "save_to_disk" in caught.value.remedy


def _hub_record(corpus: str) -> dict[str, Any]:
    record: dict[str, Any] = {"image": Image.new("RGB", (100, 200), "white")}
    boxes = [[100, 500, 300, 550], [500, 500, 700, 550]]
    if corpus == "hub-sroie":
        return record | {"words": ["TOTAL", "12.50"], "bboxes": boxes, "entities": {"total": "12.50", "company": ""}}
    if corpus == "hub-funsd":
        return record | {"words": ["TOTAL", "12.50"], "bboxes": boxes}
    if corpus == "hub-cord":
        quads = [
            {f"{axis}{corner}": 10 + 30 * index + corner for axis in "xy" for corner in range(1, 5)} for index in (0, 1)
        ]
        quads[1] |= {key: value for key, value in quads[0].items() if key.startswith("y")}
        words = [{"text": text, "quad": quad} for text, quad in zip(("TOTAL", "12.500"), quads, strict=True)]
        truth = {"valid_line": [{"words": words}], "gt_parse": {"total": {"total_price": "12.500"}}}
        return record | {"ground_truth": json.dumps(truth)}
    return record | {"label": 11}
