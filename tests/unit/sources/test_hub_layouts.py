"""CORD and RVL-CDIP from local folders, in the layouts in which they are distributed, through the real `datasets`."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from sap_llm.reading.ocr import has_ocr
from sap_llm.schema.errors import SourceError
from sap_llm.sources.cord import cord_truth
from sap_llm.sources.hub import picture_quality
from sap_llm.sources.public import PublicDocsConfig, build_public_docs
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore

_SIZE = (600, 800)
_RECEIPT = [  # category, group, is a label, text, left, top
    ("menu.cnt", 1, False, "2x", 40, 100),
    ("menu.nm", 1, False, "Nasi Goreng", 100, 100),
    ("menu.price", 1, False, "60.000", 420, 100),
    ("menu.cnt", 2, False, "1", 40, 160),
    ("menu.nm", 2, False, "Es Teh", 100, 160),
    ("menu.unitprice", 2, False, "7,500", 300, 160),
    ("menu.price", 2, False, "7,500", 420, 160),
    ("sub_total.tax_price", 3, True, "PB1", 100, 260),
    ("sub_total.tax_price", 3, False, "6.750", 420, 260),
    ("total.total_price", 4, True, "TOTAL", 100, 320),
    ("total.total_price", 4, False, "Rp74.250", 420, 320),
]
_PARSE = {
    "menu": [
        {"nm": "Nasi Goreng", "cnt": "2x", "price": "60.000"},
        {"nm": "Es Teh", "cnt": "1", "unitprice": "7,500", "price": "7,500"},
    ],
    "sub_total": {"tax_price": "6.750"},
    "total": {"total_price": "Rp74.250"},
}
_HEADER = {"tax_amount": "6750.00", "total_amount": "74250.00"}
_LINES = [
    {"line_description": "Nasi Goreng", "line_quantity": "2", "line_net_amount": "60000.00"},
    {"line_description": "Es Teh", "line_quantity": "1", "line_unit_price": "7500.00", "line_net_amount": "7500.00"},
]


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "store"))


def _build(context: StageContext, corpus: str, folder: Path) -> BuildResult:
    return build_public_docs(context, config=PublicDocsConfig(), corpus=corpus, folder=folder)


def _receipt() -> tuple[Image.Image, dict[str, Any]]:
    """A drawn receipt and CORD's annotation of it."""
    image = Image.new("RGB", _SIZE, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(22)
    lines = []
    for category, group, is_key, text, left, top in _RECEIPT:
        x, words = float(left), []
        for word in text.split():
            draw.text((x, top), word, fill="black", font=font)
            end = x + draw.textlength(word, font=font)
            quad = {"x1": x, "y1": top, "x2": end, "y2": top, "x3": end, "y3": top + 24, "x4": x, "y4": top + 24}
            words.append({"quad": quad, "is_key": int(is_key), "row_id": top, "text": word})
            x = end + 8
        lines.append({"words": words, "category": category, "group_id": group, "sub_group_id": 0})
    size = {"width": _SIZE[0], "height": _SIZE[1]}
    meta = {"version": "2.0.0", "split": "train", "image_id": 0, "image_size": size}
    return image, {"valid_line": lines, "meta": meta, "roi": {}, "repeating_symbol": [], "dontcare": []}


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _parquet(folder: Path) -> None:
    """As `naver-clova-ix/cord-v2` lies on the hub."""
    datasets = pytest.importorskip("datasets")
    image, annotation = _receipt()
    features = datasets.Features({"image": datasets.Image(), "ground_truth": datasets.Value("string")})
    rows = [
        {"image": {"bytes": _png(image), "path": None}, "ground_truth": json.dumps(annotation | {"gt_parse": _PARSE})},
        {"image": {"bytes": _png(image), "path": None}, "ground_truth": "{broken"},
    ]
    (folder / "data").mkdir(parents=True)
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "data/train-00000-of-00001.parquet")
    datasets.Dataset.from_list(rows[:1], features=features).to_parquet(folder / "data/test-00000-of-00001.parquet")


def _published(folder: Path) -> None:
    """As CORD was first published: pictures and JSON side by side, no `gt_parse`."""
    image, annotation = _receipt()
    for part in ("image", "json"):
        (folder / "train" / part).mkdir(parents=True)
    (folder / "train/image/receipt_00000.png").write_bytes(_png(image))
    (folder / "train/json/receipt_00000.json").write_text(json.dumps(annotation))
    (folder / "train/json/receipt_00001.json").write_text(json.dumps(annotation))  # its picture is missing


def _saved(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    image, annotation = _receipt()
    rows = [
        {"image": image, "ground_truth": json.dumps(annotation | {"gt_parse": _PARSE})},
        {"image": image, "ground_truth": "{}"},
    ]
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(folder)


@pytest.mark.parametrize("lay", [_parquet, _published, _saved])
def test_cord_is_read_alike_in_every_layout(context: StageContext, tmp_path: Path, lay: Any) -> None:
    folder = tmp_path / "hub-cord"
    lay(folder)
    built = _build(context, "hub-cord", folder)
    (document,) = built.dataset.table("documents").to_pylist()
    (fault,) = built.dataset.table("quarantine").to_pylist()
    (annotation,) = built.dataset.table("annotations").to_pylist()
    assert (document["document_type"], document["language"], document["licence"]) == ("RECEIPT", "id", "CC-BY-4.0")
    assert document["quality"] == 1.0
    assert fault["reason"] == "bad_record"
    assert {field["field"]: field["value"] for field in annotation["fields"]} == _HEADER
    lines = [{field["field"]: field["value"] for field in item["fields"]} for item in annotation["line_items"]]
    assert lines == _LINES
    printed = [field["printed"] for item in annotation["line_items"] for field in item["fields"]]
    assert printed == ["Nasi Goreng", "2x", "60.000", "Es Teh", "1", "7,500", "7,500"]
    assert [field["printed"] for field in annotation["fields"]] == ["6.750", "Rp74.250"]


def test_a_group_of_one_and_amounts_of_every_till() -> None:
    parse = {
        "menu": {"nm": ["Kopi", "Susu"], "price": "-5.000", "discountprice": "1,000.00"},
        "sub_total": [{"subtotal_price": "@ 12.500,00"}],
        "total": {"total_price": ["IDR 11500", "x"]},
    }
    truth = cord_truth({"gt_parse": parse, "valid_line": []})
    assert truth.header == {"net_amount": "12500", "total_amount": "11500"}
    assert truth.lines == ({"line_description": "Kopi", "line_net_amount": "-5000", "line_discount_amount": "1000"},)


def test_rvl_cdip_as_published_has_a_class_of_ours_for_each_of_its_16(context: StageContext, tmp_path: Path) -> None:
    folder = tmp_path / "hub-rvl-cdip"
    (folder / "labels").mkdir(parents=True)
    rows = []
    for label in range(16):
        image = Image.new("L", (754, 1000), 255)
        draw = ImageDraw.Draw(image)
        for line in range(12):
            text = f"Page of class {label} line {line} number {label * 37 + line}"
            draw.text((60, 60 + 60 * line), text, fill=0, font=ImageFont.load_default(28))
        path = folder / f"images/imagesa/a/{label}/doc{label}.tif"
        path.parent.mkdir(parents=True)
        image.save(path)
        rows.append(f"{path.relative_to(folder / 'images').as_posix()} {label}")
    broken = folder / "images/imagesb/broken.tif"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"II*\0")  # the published archive holds one such file
    (folder / "labels/train.txt").write_text("\n".join([*rows, "imagesb/broken.tif 4"]) + "\n")
    built = _build(context, "hub-rvl-cdip", folder)
    reasons = {row["record"]: row["reason"] for row in built.dataset.table("quarantine").to_pylist()}
    assert reasons.pop("aharley/rvl_cdip/train/16") == "bad_record"
    if not has_ocr():
        assert set(reasons.values()) == {"needs_ocr"}
        return
    assert not reasons
    metrics = built.manifest.metrics
    assert (metrics["documents_FORM"], metrics["documents_SUPPLIER_INVOICE"], metrics["documents_OTHER"]) == (2, 1, 13)
    assert all(0 < row["quality"] <= 1 for row in built.dataset.table("documents").to_pylist())


def test_a_folder_in_no_known_layout_is_named(context: StageContext, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "hub-cord").mkdir()
    with pytest.raises(SourceError, match="cannot be opened") as caught:
        _build(context, "hub-cord", tmp_path / "hub-cord")
    assert "Parquet" in caught.value.remedy


def test_quality_falls_with_sharpness_contrast_and_size() -> None:
    image, _ = _receipt()
    assert picture_quality(image) == 1.0
    blurred = image.resize((75, 100)).resize(_SIZE)
    pale = Image.blend(image, Image.new("RGB", _SIZE, "white"), 0.9)
    small = image.resize((60, 80))
    assert all(picture_quality(poor) < 0.6 for poor in (blurred, pale, small))
    assert picture_quality(Image.new("RGB", _SIZE, "white")) == 0.0
    assert picture_quality(Image.new("RGB", (1, 1))) == 0.0
