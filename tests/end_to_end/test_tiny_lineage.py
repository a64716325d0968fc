"""The tiny profile on real documents, and its champion on good and bad files: what a newcomer meets."""

import io
import json
from pathlib import Path

import pypdfium2 as pdfium
import pytest

from sap_llm.storage.store import DatasetStore
from tests.support.demo_process import REAL_DOCUMENTS, Home
from tests.support.hostile_files import encrypted_pdf, pdf_of_pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(folder=tmp_path_factory.mktemp("tiny"), profile="tiny")
    real = ("--documents", str(REAL_DOCUMENTS)) if REAL_DOCUMENTS.is_dir() else ()
    done = made.demo(*real, timeout=2700)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return made


@pytest.fixture(scope="module")
def invoice(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic supplier invoice on a layout that training never saw; its truth lies beside it as JSON."""
    store = DatasetStore(home.folder / "data/local/datasets")
    name = next(name for name in store.names() if name.startswith("synthetic_docs/0"))
    dataset = store.open(store.current(name))
    wanted = next(
        row
        for row in dataset.table("documents").to_pylist()
        if row["is_test_layout"] and row["document_type"] == "SUPPLIER_INVOICE" and row["page_count"] == 1
    )
    content = next(row["content"] for row in dataset.table("blobs").to_pylist() if row["sha256"] == wanted["sha256"])
    truth = next(
        row["fields"] for row in dataset.table("annotations").to_pylist() if row["document_id"] == wanted["document_id"]
    )
    path = tmp_path_factory.mktemp("documents") / "invoice.pdf"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(sorted({field["printed"] for field in truth})))
    return path


def test_model_reads_unseen_layouts_better_than_the_baseline(home: Home) -> None:
    report = home.report()
    assert report["class_accuracy"] >= 0.90  # the aim is 0.95
    assert report["subtype_accuracy"] >= 0.60  # half of them are STANDARD
    assert report["field_f1"] >= 0.80
    assert report["field_f1"] > report["field_f1_baseline"]
    assert report["is_champion"]


@pytest.mark.skipif(not REAL_DOCUMENTS.is_dir(), reason="no folder of real documents beside the checkout")
def test_model_reads_real_e_invoices_and_orders(home: Home) -> None:
    assert home.report()["header_f1_real"] >= 0.75  # the aim is 0.85


def test_extract_prints_fields_with_boxes(home: Home, invoice: Path) -> None:
    done = home.sap_llm("extract", str(invoice), "--json")
    assert done.returncode == 0, done.stderr
    form = json.loads(done.stdout)
    page = form["pages"][0]
    printed = {field["printed"] for field in page["fields"]}
    truth = set(json.loads(invoice.with_suffix(".json").read_text()))
    assert len(printed & truth) >= len(printed) / 2 >= 2, f"{printed} is not what stands there: {truth}"
    for field in page["fields"]:
        x0, y0, x1, y1 = field["bbox"]
        assert 0 <= x0 < x1 <= page["image_width"]
        assert 0 <= y0 < y1 <= page["image_height"]
        assert 0 <= field["confidence"] <= 1


def test_extract_prints_a_table_for_people(home: Home, invoice: Path) -> None:
    done = home.sap_llm("extract", str(invoice))
    assert done.returncode == 0, done.stderr
    assert "confidence" in done.stdout
    assert "currency" in done.stdout or "total_amount" in done.stdout or "document_number" in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.pdf", b"", "the file is empty"),
        ("corrupt.pdf", b"%PDF-1.7\n" + b"\x00garbage" * 100, "corrupt.pdf"),
        ("encrypted.pdf", encrypted_pdf(), "password"),
        ("noise.bin", bytes(range(256)) * 10, "neither PDF nor picture nor text"),
    ],
)
def test_extract_answers_bad_files_with_one_sentence(
    home: Home, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = home.sap_llm("extract", str(path))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_extract_reads_the_first_pages_of_a_very_long_document(home: Home, invoice: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(pdf_of_pages(invoice.read_bytes(), count=500))
    done = home.sap_llm("extract", str(path), "--json", "--max-pages", "3")
    assert done.returncode == 0, done.stderr
    form = json.loads(done.stdout)
    assert len(form["pages"]) == 3
    assert any("of 500 pages" in note for note in form["metadata"]["notes"])


def test_extract_reads_a_text_file(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "invoice.txt"
    path.write_text("Invoice\n\nInvoice number: 2024-118\nInvoice date: 2024-03-05\nTotal amount: 119.00 EUR\n" * 2)
    done = home.sap_llm("extract", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pages"]


def test_extract_of_a_picture_reads_it_or_names_what_is_missing(home: Home, invoice: Path, tmp_path: Path) -> None:
    picture = io.BytesIO()
    pdfium.PdfDocument(invoice.read_bytes())[0].render(scale=2.0).to_pil().save(picture, format="PNG")
    path = tmp_path / "scan.png"
    path.write_bytes(picture.getvalue())
    done = home.sap_llm("extract", str(path))
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert "document_number" in done.stdout or "total_amount" in done.stdout or "document_date" in done.stdout
    else:
        assert "MissingToolError" in done.stderr


def test_second_demo_reuses_all_and_keeps_the_champion(home: Home) -> None:
    before = home.report()
    real = ("--documents", str(REAL_DOCUMENTS)) if REAL_DOCUMENTS.is_dir() else ()
    done = home.demo(*real, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    after = home.report()
    assert after["built"] == 0
    assert after["champion_version"] == before["champion_version"]
