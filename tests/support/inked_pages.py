"""First pages of the generator as words and as ink: the page's text alone, rasterised.

Belongs here: what tests of warps need from a real page. Rules and fills are taken out, since ink that is no word's has
no box.
"""

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from pypdfium2 import raw

from sap_llm.augmentation.geometry import boxes_to_quads
from sap_llm.augmentation.stream import Sample
from sap_llm.reading.pdf import raster_pages
from sap_llm.schema.page import Page
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import Request, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig, typeset_fact

SCALE = 150 / 72
_FACTS = BusinessFactsConfig(seed=11, chains_per_world=2, lines_max=8)
_DOCUMENTS = SyntheticDocsConfig(
    seed=11, workers=1, test_layout_share=0.3, untitled_share=0.2, foreign_language_share=0.0
)
_FINER = 4  # PDFium moves small print to whole pixels, so pages are set finer and averaged
_LARGEST = 900.0  # points; the generator also makes drawings' sheets, which only take longer


@dataclass(frozen=True, eq=False)
class InkedPage:
    """A page at 150 dpi: white paper 255, words in black, their quads in pixels."""

    page: Page
    picture: npt.NDArray[np.uint8]
    quads: npt.NDArray[np.float32]


@cache
def corpus_rows(count: int) -> tuple[dict[str, list[dict[str, Any]]], ...]:
    """Corpus rows of generated documents of one and more pages."""
    facts = wanted_facts(Request(facts=_FACTS, documents=_DOCUMENTS))
    made = (typeset_fact(fact, _DOCUMENTS) for fact in facts)
    usual = (rows for rows in made if "pages" in rows and rows["pages"][0]["height"] < _LARGEST)
    return tuple(islice(usual, count))


@cache
def inked_pages(count: int) -> tuple[InkedPage, ...]:
    """First pages with the ink of their words alone."""
    return tuple(_inked(rows) for rows in corpus_rows(count))


@cache
def samples(count: int) -> tuple[Sample, ...]:
    """Generated documents with their pictures in colour."""
    return tuple(
        Sample(
            document=rows["documents"][0],
            annotation=rows["annotations"][0],
            pages=[Page.from_row(row) for row in rows["pages"]],
            pictures=list(raster_pages(rows["blobs"][0]["content"], name="test", scale=SCALE)),
        )
        for rows in corpus_rows(count)
    )


def _inked(rows: dict[str, list[dict[str, Any]]]) -> InkedPage:
    document = pdfium.PdfDocument(rows["blobs"][0]["content"])
    sheet = document[0]
    for item in list(sheet.get_objects(max_depth=1)):
        if item.type != raw.FPDF_PAGEOBJ_TEXT:
            sheet.remove_obj(item)
        else:
            assert raw.FPDFPageObj_SetFillColor(item.raw, 0, 0, 0, 255)
    fine = sheet.render(scale=SCALE * _FINER, grayscale=True).to_numpy().squeeze()
    height, width = (side // _FINER * _FINER for side in fine.shape)
    blocks = fine[:height, :width].reshape(height // _FINER, _FINER, width // _FINER, _FINER)
    picture = np.ascontiguousarray(blocks.mean(axis=(1, 3)).astype(np.uint8))
    page = Page.from_row(rows["pages"][0])
    pixels = np.array([fine.shape[1] / page.width, fine.shape[0] / page.height], dtype=np.float32) / _FINER
    return InkedPage(page=page, picture=picture, quads=boxes_to_quads(page.boxes) * pixels)
