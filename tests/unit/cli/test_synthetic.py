"""`sap-llm synthetic`: files that are whole or absent, the same whoever makes them; sheets; tables; refusals."""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from sap_llm.cli import synthetic
from sap_llm.schema.document import DocumentForm
from sap_llm.schema.errors import ConfigurationError
from sap_llm.synthetic.contact_sheet import LEGEND, one_a_world
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import Request, known_types, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig

COMMAND = (sys.executable, "-m", "sap_llm.cli", "--profile", "seconds", "synthetic")


@pytest.fixture(autouse=True)
def _profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")


def call(*arguments: object) -> Result:
    app = typer.Typer()
    synthetic.register(app)
    result = CliRunner().invoke(app, ["synthetic", *map(str, arguments)])
    if isinstance(result.exception, ConfigurationError):
        raise result.exception
    return result


def generate(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    result = call("generate", "--out", folder, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(folder / "index.jsonl")
    return [json.loads(line) for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_rare_class_is_found(tmp_path: Path) -> None:
    entries = generate(tmp_path / "out", "--type", "self_billing_invoice", "--count", 2)
    assert [entry["document_type"] for entry in entries] == ["SELF_BILLING_INVOICE"] * 2


def test_a_class_that_no_chain_makes_is_refused_in_the_end() -> None:
    facts = BusinessFactsConfig(seed=1, chains_per_world=1, sales_per_world=0, lines_max=2)
    documents = SyntheticDocsConfig(
        seed=1, workers=1, test_layout_share=0, untitled_share=0, foreign_language_share=0
    )  # fmt: skip
    request = Request(facts=facts, documents=documents, document_types=("SALES_ORDER",))
    with pytest.raises(ConfigurationError, match="no sales_order in"):
        next(wanted_facts(request))


def test_documents_have_their_truth_in_the_form_of_extract(tmp_path: Path) -> None:
    entries = generate(tmp_path / "out", "--type", "Supplier_Invoice", "--count", 6, "--language", "de")
    assert len(entries) == len({entry["document_id"] for entry in entries}) == 6
    for entry in entries:
        assert (entry["document_type"], entry["language"]) == ("SUPPLIER_INVOICE", "de")
        content = (tmp_path / "out" / entry["file"]).read_bytes()
        text = (tmp_path / "out" / entry["annotation"]).read_text(encoding="utf-8")
        form = DocumentForm.model_validate_json(text)
        assert json.dumps(form.model_dump(mode="json"), indent=2, ensure_ascii=False) == text
        assert content.startswith(b"%PDF")
        assert hashlib.sha256(content).hexdigest() == entry["sha256"] == form.metadata["sha256"]
        assert len(form.pages) == entry["pages"]
        names = {field.field_name for page in form.pages for field in page.fields}
        assert names & {"invoice_number", "document_number"}
        assert any(page.line_items for page in form.pages)
    assert len(files(tmp_path / "out")) == 2 * 6 + 2


def test_classes_can_be_several_and_test_layouts_are_all_or_none(tmp_path: Path) -> None:
    types = ("--type", "goods_receipt", "--type", "SALES_ORDER")
    known = generate(tmp_path / "known", *types, "--count", 20)
    tested = generate(tmp_path / "tested", *types, "--count", 20, "--test-layouts")
    assert {entry["document_type"] for entry in known} == {"GOODS_RECEIPT", "SALES_ORDER"}
    assert not any(entry["is_test_layout"] for entry in known)
    assert all(entry["is_test_layout"] and entry["layout"].startswith("test-") for entry in tested)


def test_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed, workers in (("one", 3, 1), ("two", 3, 2), ("other", 4, 1)):
        generate(tmp_path / name, "--count", 24, "--seed", seed, "--workers", workers)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert not set(files(tmp_path / "one")) & {name for name in files(tmp_path / "other") if name.startswith("doc-")}


def test_the_volume_tier_writes_other_files_of_the_same_facts(tmp_path: Path) -> None:
    typeset, drawn = (generate(tmp_path / tier, "--count", 8, "--tier", tier) for tier in ("typeset", "volume"))
    assert [entry["document_id"] for entry in typeset] == [entry["document_id"] for entry in drawn]
    same = {entry["sha256"] for entry in typeset} & {entry["sha256"] for entry in drawn}
    assert len(same) <= 2  # what the volume tier has no room for is typeset
    assert {entry["layout"] for entry in typeset} == {entry["layout"] for entry in drawn}


def test_what_is_missing_or_damaged_is_made_again(tmp_path: Path) -> None:
    entries = generate(tmp_path / "out", "--count", 5)
    before = files(tmp_path / "out")
    (tmp_path / "out" / entries[0]["file"]).write_bytes(b"%PDF half")
    (tmp_path / "out" / entries[1]["annotation"]).write_text('{"document_id":')
    (tmp_path / "out" / entries[2]["annotation"]).unlink()
    (tmp_path / "out" / "doc-x.pdf.partial").write_bytes(b"left by a killed run")
    result = call("generate", "--out", tmp_path / "out", "--count", 5)
    assert "3 made now, 2 kept" in result.stdout
    assert files(tmp_path / "out") == before


def test_killed_run_leaves_nothing_that_looks_complete_and_is_continued(tmp_path: Path) -> None:
    folder, count = tmp_path / "killed", "80"
    arguments = (*COMMAND, "generate", "--count", count, "--workers", "2", "--out")
    process = subprocess.Popen([*arguments, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.json"))) < 8:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert not (folder / "index.jsonl").exists()
    for path in folder.glob("doc-*.json"):
        form = DocumentForm.model_validate_json(path.read_bytes())
        assert hashlib.sha256(path.with_suffix(".pdf").read_bytes()).hexdigest() == form.metadata["sha256"]
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    again = subprocess.run([*arguments, str(folder)], capture_output=True, text=True, timeout=60, check=True)
    assert " 0 kept" not in again.stdout
    assert len(generate(tmp_path / "straight", "--count", count)) == int(count)
    assert files(folder) == files(tmp_path / "straight")


def test_folder_of_other_contents_is_refused(tmp_path: Path) -> None:
    generate(tmp_path / "out", "--count", 2)
    with pytest.raises(ConfigurationError, match=r"other arguments.*Repeat those arguments"):
        generate(tmp_path / "out", "--count", 3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigurationError, match="holds other files"):
        generate(tmp_path / "full", "--count", 2)
    assert list(files(tmp_path / "full")) == ["letter.txt"]


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match=r"cannot be written.*Name a folder"):
            generate(folder, "--count", 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        generate(tmp_path / "closed" / "out", "--count", 1)


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    arguments = [*COMMAND, "generate", "--count", "1", "--out", str(tmp_path / "out"), "--type", "payslip"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    said = " ".join(result.stderr.split())
    assert result.returncode == 1
    assert "no document type 'payslip'. Choose from purchase_requisition, request_f" in said
    assert "Traceback" not in said
    with pytest.raises(ConfigurationError, match=r"no language 'xx'\. Choose from de, en, es, fr"):
        call("diversity", "--language", "xx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--out", "x"),
        ("generate", "--count", "0", "--out", "x"),
        ("generate", "--count", "1"),
        ("generate", "--count", "1", "--out", "x", "--seed", "-1"),
        ("generate", "--count", "1", "--out", "x", "--workers", "0"),
        ("generate", "--count", "1", "--out", "x", "--tier", "printed"),
        ("preview",),
        ("preview", "--out", "x", "--count", "1000"),
        ("diversity", "--count", "1"),
    ],
)
def test_bad_arguments_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert call(*arguments).exit_code == 2


def test_preview_draws_pages_with_boxes_in_all_colours(tmp_path: Path) -> None:
    result = call("preview", "--out", tmp_path / "sheet.png", "--count", 5, "--type", "supplier_invoice")
    assert result.stdout.splitlines()[-1] == str(tmp_path / "sheet.png")
    content = (tmp_path / "sheet.png").read_bytes()
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert pixels.shape[1] > 4 * 595
    assert pixels.shape[0] > 2 * 842
    below_legend = pixels[50:]
    for name, colour in LEGEND.items():
        assert (below_legend == np.array(colour)).all(axis=2).sum() > 100, name
    call("preview", "--out", tmp_path / "again.png", "--count", 5, "--type", "supplier_invoice", "--workers", 2)
    assert (tmp_path / "again.png").read_bytes() == content
    assert sorted(files(tmp_path)) == ["again.png", "sheet.png"]


def test_preview_shows_damaged_pages_with_their_fields_where_they_are_now(tmp_path: Path) -> None:
    arguments = ("preview", "--count", 2, "--type", "supplier_invoice", "--workers", 1)
    for name, *more in (("plain",), ("photo", "--damage", "phone_photo"), ("again", "--damage", "phone_photo")):
        assert call(*arguments, *more, "--out", tmp_path / f"{name}.png").exit_code == 0
    plain, photo, again = ((tmp_path / f"{name}.png").read_bytes() for name in ("plain", "photo", "again"))
    assert photo == again != plain
    pixels = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))[50:].astype(int)
    assert (pixels.max(axis=2) < 110).mean() > 0.02  # the desk
    with pytest.raises(ConfigurationError, match="no preset"):
        call(*arguments, "--damage", "coffee", "--out", tmp_path / "new.png")
    assert not (tmp_path / "new.png").exists()


def test_preview_damages_each_second_page_and_fits_a_width(tmp_path: Path) -> None:
    arguments = ("preview", "--count", 2, "--type", "supplier_invoice", "--workers", 1)
    for name, *more in (
        ("plain.png",), ("second.png", "--damage", "phone_photo", "--every", 2),
        ("small.jpg", "--damage", "phone_photo", "--every", 2, "--width", 500),
    ):  # fmt: skip
        assert call(*arguments, *more, "--out", tmp_path / name).exit_code == 0
    plain, second = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("plain.png", "second.png"))
    half = plain.shape[1] // 2
    assert (plain[:, :half] == second[:, :half]).all()
    assert (plain[60:, half:] != second[60:, half:]).any()
    with Image.open(tmp_path / "small.jpg") as small:
        assert (small.format, small.width) == ("JPEG", 500)


def test_all_classes_can_be_asked_for_and_a_sheet_shows_each_once_while_there_are_new_ones() -> None:
    assert len(known_types(["all"])) == 50
    facts = BusinessFactsConfig(seed=1, chains_per_world=2, sales_per_world=1, lines_max=3)
    documents = SyntheticDocsConfig(seed=1, workers=1, test_layout_share=0, untitled_share=0, foreign_language_share=0)
    request = Request(facts=facts, documents=documents, document_types=known_types(["all"]))
    kinds = [fact["document_type"] for fact in islice(one_a_world(request), 12)]
    assert len(set(kinds)) == 12


def test_preview_refuses_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "none" / "sheet.png"):
        with pytest.raises(ConfigurationError, match="cannot be written"):
            call("preview", "--out", out, "--count", 1)


def test_diversity_prints_tables_and_json() -> None:
    result = call("diversity", "--count", 12, "--language", "fr", "--json")
    report = json.loads(result.stdout)
    assert report["documents"] == 12
    assert report["languages"] == {"fr": 12}
    assert {spread["language"] for spread in report["words"]} == {"fr"}
    shown = call("diversity", "--count", 12, "--language", "fr").stdout
    assert "titles missing or misleading" in shown
    assert "total_amount" in shown
