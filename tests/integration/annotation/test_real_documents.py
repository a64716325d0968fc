"""Real documents at the desk: their truth survives Label Studio's form whole, and their pages can be shown."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sap_llm.annotation.region_answers import from_results
from sap_llm.annotation.regions import to_results
from sap_llm.deployment import Deployment
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.page import Page
from sap_llm.schema.tables import ANNOTATIONS, conform
from sap_llm.sources.public import PublicDocsConfig, build_public_docs
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset, DatasetStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["sroie", "zugferd"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    default = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("SAP_LLM_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no real documents at {folder}; set SAP_LLM_SHARED")
    return build_public_docs(
        StageContext(store=DatasetStore(tmp_path_factory.mktemp("real"))),
        config=Deployment.load("seconds").config(PublicDocsConfig, "public_docs"),
        corpus=request.param,
        folder=folder,
    ).dataset


def pages_of(corpus: Dataset) -> dict[str, list[Page]]:
    found: dict[str, list[Page]] = {}
    for row in sorted(corpus.table("pages").to_pylist(), key=lambda row: int(row["page_number"])):
        found.setdefault(row["document_id"], []).append(Page.from_row(row))
    return found


def said(row: dict[str, Any]) -> dict[str, Any]:
    """What the form can hold: fields with a value, their place where they have a box."""
    fields = [field for field in row["fields"] if field["value"] is not None]
    items = [item | {"fields": _placed(item["fields"])} for item in row["line_items"] if item["fields"]]
    about = {"document_id": "d", "annotator": "x", "revision": 1, "source": "x", "type_confidence": 1.0}
    stored = conform([row | about | {"created_at": None, "fields": _placed(fields), "line_items": items}], ANNOTATIONS)
    return dict(stored.to_pylist()[0])


def _placed(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    nowhere = {"page": None, "printed": None, "word_ids": None}
    rows = [field | ({} if field["box"] else nowhere) | {"confidence": 1.0, "source": "x"} for field in fields]
    return sorted(rows, key=lambda field: (field["field"], str(field["value"]), str(field["page"]), str(field["box"])))


def test_the_truth_of_a_real_document_survives_the_form(corpus: Dataset) -> None:
    pages = pages_of(corpus)
    languages = {row["document_id"]: row["language"] for row in corpus.table("documents").to_pylist()}
    rows = [row for row in corpus.table("annotations").to_pylist() if row["document_id"] in pages]
    assert len(rows) >= 10
    for row in rows:
        own = pages[row["document_id"]]
        results = json.loads(json.dumps(to_results(row, [(page.width, page.height) for page in own])))
        read = from_results(results, own, language=languages[row["document_id"]])
        assert said(read) == said(row)


def test_every_page_can_be_shown(corpus: Dataset) -> None:
    blobs = {row["sha256"]: row["content"] for row in corpus.table("blobs").to_pylist()}
    pages = pages_of(corpus)
    with Sandbox() as sandbox:
        for document in corpus.table("documents").to_pylist():
            for page in pages.get(document["document_id"], []):
                drawn = sandbox.render(blobs[document["sha256"]], page.page_number, 1.0)
                picture = Image.open(io.BytesIO(drawn))
                assert picture.width / picture.height == pytest.approx(page.width / page.height, rel=0.02)
