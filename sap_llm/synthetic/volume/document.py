"""One fact to one document of the volume tier.

Trying a look, and smaller or more complete ones where a value does not fit, belongs here; drawing does not (`pages`).
"""

from collections.abc import Mapping
from random import Random
from typing import Any

from sap_llm.synthetic.rows import Row, document_row, tables_of
from sap_llm.synthetic.style import Style
from sap_llm.synthetic.volume.canvas import Canvas, NoRoomError
from sap_llm.synthetic.volume.fonts import COMPLETE, UndrawableTextError
from sap_llm.synthetic.volume.look import Look, look_of
from sap_llm.synthetic.volume.pages import draw_pages
from sap_llm.synthetic.volume.pdf import pdf_file
from sap_llm.synthetic.volume.printing import Printer
from sap_llm.synthetic.volume.truth import ReadPage, truth_of

_SCALES = (1.0, 0.97, 0.92, 0.84, 0.74)
_MARGIN = 0.002  # points: a page whose reading order hangs on less is set in another size; readers agree to 0.001


def draw_fact(
    fact: Mapping[str, Any], payload: dict[str, Any], style: Style, *, seed: int, untitled_share: float
) -> dict[str, list[Row]] | None:  # fmt: skip
    """Corpus rows of one fact; None where no page of the style can hold its values.

    Args:
        fact: A row of `facts.FACTS` of a class that `classes` knows.
        payload: Its payload, parsed; it is not changed.
        style: The issuer's.
        seed: Of the configuration.
        untitled_share: Share of documents whose title is missing or misleading.
    """
    found = _drawn(fact, payload, style, seed, untitled_share)
    if found is None:
        return None
    look, canvases, pages = found
    contents = [canvas.operators() for canvas in canvases]
    content, sha256 = pdf_file(contents, width=look.width, height=look.height, faces=look.faces)
    return tables_of(
        fact,
        document=document_row(
            fact,
            layout=style.seed,
            is_test=style.is_test,
            language=style.language,
            page_count=len(pages),
            sha256=sha256,
        ),
        pages=[page.row(fact["document_id"], look.width, look.height) for page in pages],
        truth=truth_of(pages, payload["lines"]),
        content=content,
    )


def _drawn(
    fact: Mapping[str, Any], payload: dict[str, Any], style: Style, seed: int, untitled_share: float
) -> tuple[Look, list[Canvas], list[ReadPage]] | None:
    family = ""
    for scale in _SCALES:
        for _ in range(2):
            look = look_of(
                style.seed, style.language, style.country, style.is_test, fact["document_type"], scale, family
            )
            if not family and look.faces[0].lacks(fact["payload"]):
                family = COMPLETE
                continue
            rng = Random(f"document/{seed}/{fact['document_id']}")  # the same for each try
            printer = Printer(fact, payload, look, rng, is_titled=rng.random() >= untitled_share)
            try:
                canvases = draw_pages(printer)
                pages = [ReadPage(number, canvas) for number, canvas in enumerate(canvases, start=1)]
                if min(page.margin for page in pages) < _MARGIN:
                    break
                return look, canvases, pages
            except UndrawableTextError:
                family = COMPLETE
            except NoRoomError:
                break
    return None
