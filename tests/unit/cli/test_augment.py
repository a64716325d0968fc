"""`sap-llm augment` as a user calls it: what is written, where boxes lie, continuing, killing, and refusals."""

import hashlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import typer
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from sap_llm.cli import augment, synthetic
from sap_llm.reading.pdf import read_pdf
from sap_llm.schema.damaged import DamagedForm
from sap_llm.schema.document import DocumentForm
from sap_llm.schema.errors import ConfigurationError, SourceError

COMMAND = (sys.executable, "-m", "sap_llm.cli", "--profile", "seconds", "augment")
DOCUMENTS = 4


def call(*arguments: object) -> Result:
    app = typer.Typer()
    synthetic.register(app)
    augment.register(app)
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if isinstance(result.exception, ConfigurationError | SourceError):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "documents"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAP_LLM_PROFILE", "seconds")
        assert call("synthetic", "generate", "--count", DOCUMENTS, "--workers", 1, "--out", folder).exit_code == 0
    return folder


def damage(source: Path, out: Path, *arguments: object) -> list[dict[str, Any]]:
    result = call("augment", "--in", source, "--out", out, "--workers", 1, "--dpi", 75, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(out / "index.jsonl")
    return [json.loads(line) for line in (out / "index.jsonl").read_text(encoding="utf-8").splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("preset", "suffix", "mode"), [("fax", ".png", "L"), ("phone_photo", ".jpg", "RGB")])
def test_copies_have_pictures_and_truth_in_their_pixels(
    source: Path, tmp_path: Path, preset: str, suffix: str, mode: str
) -> None:
    entries = damage(source, tmp_path / "out", "--preset", preset, "--copies", 2)
    originals = [json.loads(line) for line in (source / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["original"] for entry in entries] == [one["document_id"] for one in originals for _ in range(2)]
    for entry, original in zip(entries, [one for one in originals for _ in range(2)], strict=True):
        for name in ("world", "chain", "vendor", "layout", "is_test_layout", "document_type", "language"):
            assert entry[name] == original[name]
        form = DamagedForm.model_validate_json((tmp_path / "out" / entry["annotation"]).read_bytes())
        truth = DocumentForm.model_validate_json((source / original["annotation"]).read_bytes())
        read, _ = read_pdf((source / original["file"]).read_bytes(), name="original")
        assert form.metadata["damage"]["original"] == original["document_id"]
        for page, before, words in zip(form.pages, truth.pages, read, strict=True):
            content = (tmp_path / "out" / page.image).read_bytes()
            assert hashlib.sha256(content).hexdigest() == page.image_sha256
            picture = Image.open(io.BytesIO(content))
            assert (picture.size, picture.mode) == ((page.image_width, page.image_height), mode)
            assert page.image.endswith(suffix)
            assert len(page.fields) + len(page.lost_fields) == len(before.fields)
            assert {word.text for word in page.words} <= set(words.words)
            assert len(page.words) > 0.8 * len(words.words)
            check_places(page, np.asarray(picture.convert("L")))
    assert len(files(tmp_path / "out")) == 2 + sum(1 + entry["pages"] for entry in entries)


def check_places(page: Any, gray: np.ndarray) -> None:
    placed = [*page.words, *page.fields, *page.line_items, *page.tables]
    for place in (one for one in placed if one.bbox is not None):
        quad = np.array(place.quad)
        x0, y0, x1, y1 = place.bbox
        assert 0 <= x0 <= x1 <= page.image_width
        assert 0 <= y0 <= y1 <= page.image_height
        assert np.abs(quad.min(axis=0) - (x0, y0)).max() <= 1.0
        assert np.abs(quad.max(axis=0) - (x1, y1)).max() <= 1.0
    clear = [word for word in page.words if word.is_legible and not word.is_cut and len(word.text) > 3]
    contrast = []
    for word in clear:
        x0, y0, x1, y1 = word.bbox
        contrast.append(float(np.ptp(gray[y0:y1, x0:x1])))
    assert np.mean(np.array(contrast) > 40) > 0.95  # there is print in the boxes


def test_same_seed_gives_the_same_bytes_whatever_the_processes_and_another_does_not(
    source: Path, tmp_path: Path
) -> None:
    damage(source, tmp_path / "one", "--seed", 3)
    call("augment", "--in", source, "--out", tmp_path / "two", "--dpi", 75, "--seed", 3, "--workers", 2)
    damage(source, tmp_path / "other", "--seed", 4)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert not {name for name in files(tmp_path / "one") if name.startswith("doc-")} & set(files(tmp_path / "other"))


def test_what_is_missing_or_damaged_is_made_again(source: Path, tmp_path: Path) -> None:
    entries = damage(source, tmp_path / "out")
    before = files(tmp_path / "out")
    (tmp_path / "out" / entries[0]["images"][0]).write_bytes(b"half")
    (tmp_path / "out" / entries[1]["annotation"]).write_text('{"document_id":')
    (tmp_path / "out" / entries[2]["images"][0]).unlink()
    (tmp_path / "out" / "doc-x.png.partial").write_bytes(b"left by a killed run")
    result = call("augment", "--in", source, "--out", tmp_path / "out", "--workers", 1, "--dpi", 75)
    assert f"{2 * DOCUMENTS} copies, 3 made now, {2 * DOCUMENTS - 3} kept" in result.stdout
    assert files(tmp_path / "out") == before


@pytest.mark.slow
def test_killed_run_leaves_nothing_that_looks_complete_and_is_continued(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    arguments = (
        *COMMAND,
        "--in",
        str(source),
        "--copies",
        "20",
        "--dpi",
        "150",
        "--workers",
        "2",
        "--out",
        str(folder),
    )
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("doc-*.json"))) < 4:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert not (folder / "index.jsonl").exists()
    for path in folder.glob("doc-*.json"):
        form = DamagedForm.model_validate_json(path.read_bytes())
        for page in form.pages:
            assert hashlib.sha256((folder / page.image).read_bytes()).hexdigest() == page.image_sha256
    again = subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=True)
    assert " 0 kept" not in again.stdout
    straight = tmp_path / "straight"
    subprocess.run([*arguments[:-1], str(straight)], capture_output=True, timeout=240, check=True)
    assert files(folder) == files(straight)


def test_other_folders_and_unknown_names_are_refused(source: Path, tmp_path: Path) -> None:
    damage(source, tmp_path / "out")
    with pytest.raises(ConfigurationError, match=r"other arguments.*Repeat those arguments"):
        damage(source, tmp_path / "out", "--preset", "fax")
    with pytest.raises(ConfigurationError, match=r"no preset 'fox'\. Choose from office_scan"):
        damage(source, tmp_path / "new", "--preset", "fox")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigurationError, match=r"no index.*synthetic generate"):
        damage(tmp_path / "nothing", tmp_path / "new")
    with pytest.raises(ConfigurationError, match="holds documents that were made with other arguments"):
        damage(source, source)


def test_a_source_that_was_changed_is_refused(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in files(source).items():
        (copy / name).write_bytes(content)
    next(iter(copy.glob("*.pdf"))).write_bytes(b"%PDF-1.7 something else")
    with pytest.raises(SourceError, match=r"not the one that the index names.*synthetic generate"):
        damage(copy, tmp_path / "out")
    assert not (tmp_path / "out" / "index.jsonl").exists()


@pytest.mark.parametrize(
    "arguments", [("--severity", 6), ("--copies", 0), ("--dpi", 10), ("--workers", 0), ("--seed", -1)]
)
def test_bad_arguments_are_a_usage_error(source: Path, tmp_path: Path, arguments: tuple[object, ...]) -> None:
    assert call("augment", "--in", source, "--out", tmp_path / "out", *arguments).exit_code == 2
