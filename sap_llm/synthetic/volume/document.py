"""Facts to documents of the volume tier, many at a time.

Trying a look, and smaller or more complete ones where a value does not fit, belongs here, as does putting the tables
together; drawing does not (`pages`), nor the truth (`truth`).
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from sap_llm.schema.tables import BLOBS, CORPUS, DOCUMENTS
from sap_llm.synthetic.rows import document_row
from sap_llm.synthetic.style import Style
from sap_llm.synthetic.volume.canvas import Canvas, NoRoomError
from sap_llm.synthetic.volume.fonts import COMPLETE, UndrawableTextError
from sap_llm.synthetic.volume.look import Look, look_of
from sap_llm.synthetic.volume.pages import draw_pages
from sap_llm.synthetic.volume.pdf import PdfFile, pdf_file
from sap_llm.synthetic.volume.placing import Placed
from sap_llm.synthetic.volume.printing import Printer
from sap_llm.synthetic.volume.truth import Truth

_SCALES = (1.0, 0.97, 0.92, 0.84, 0.74)
_MARGIN = 0.002  # points: a page whose reading order hangs on less is set in another size; readers agree to 0.001


class Job:
    """One document that is wanted, and its pages once it is drawn.

    Args:
        fact: A row of `facts.FACTS` of a class that `classes` knows.
        payload: Its payload, parsed; it is not changed.
        style: The issuer's.
        seed: Of the configuration.
        untitled_share: Share of documents whose title is missing or misleading.
    """

    _rng = Random(0)  # one for all jobs, as making a stream costs twice as much as seeding it anew
    look: Look
    canvases: list[Canvas]
    """Empty where no page of the style can hold the values."""

    def __init__(
        self, fact: Mapping[str, Any], payload: dict[str, Any], style: Style, *, seed: int, untitled_share: float
    ) -> None:  # fmt: skip
        self.fact, self.payload, self.style = fact, payload, style
        self._seed, self._untitled_share = seed, untitled_share
        self._scales = iter(_SCALES)
        self._family = ""
        self._kept: dict[Any, Any] = {}

    def draw(self) -> bool:
        """Draw the pages in the next size that holds all values; whether there is one."""
        self.canvases = []
        return any(self._fits(scale) for scale in self._scales)

    def _fits(self, scale: float) -> bool:
        style, fact = self.style, self.fact
        look = look_of(
            style.seed, style.language, style.country, style.is_test, fact["document_type"], scale, self._family
        )
        if self._family or not look.faces[0].lacks(fact["payload"]):
            rng = self._rng
            rng.seed(f"document/{self._seed}/{fact['document_id']}")  # the same for each try
            is_titled = rng.random() >= self._untitled_share
            printer = Printer(fact, self.payload, look, rng, is_titled=is_titled, kept=self._kept)
            try:
                self.look, self.canvases = look, draw_pages(printer)
            except NoRoomError:
                return False
            except UndrawableTextError:
                if self._family:
                    return False
            else:
                return True
        self._family = COMPLETE
        return self._fits(scale)


def draw_facts(jobs: Sequence[Job]) -> tuple[dict[str, pa.Table], list[Job]]:
    """Corpus tables of the documents in their order, and the jobs that no page of their style can hold.

    What a document becomes does not depend on the others.
    """
    drawn = [job for job in jobs if job.draw()]
    while drawn:
        canvases = [canvas for job in drawn for canvas in job.canvases]
        document_of = np.repeat(np.arange(len(drawn)), [len(job.canvases) for job in drawn])
        placed = Placed(canvases)
        order, lines, margins = placed.reading_order()
        unsure = set(document_of[margins < _MARGIN].tolist())
        if not unsure:
            numbers = [[line["number"] for line in job.payload["lines"]] for job in drawn]
            truth = Truth(canvases, placed, order, lines, document_of, numbers)
            return _tables(drawn, placed, truth), [job for job in jobs if not job.canvases]
        drawn = [job for number, job in enumerate(drawn) if number not in unsure or job.draw()]
    return {name: schema.empty_table() for name, schema in CORPUS.items()}, list(jobs)


def _tables(jobs: Sequence[Job], placed: Placed, truth: Truth) -> dict[str, pa.Table]:
    contents = iter(placed.contents())
    files = [
        pdf_file(
            [*islice(contents, len(job.canvases))],
            width=job.look.width, height=job.look.height, faces=job.look.faces,
        )
        for job in jobs
    ]  # fmt: skip
    documents = [
        document_row(
            job.fact,
            layout=job.style.seed,
            is_test=job.style.is_test,
            language=job.style.language,
            page_count=len(job.canvases),
            sha256=file.sha256,
        )
        for job, file in zip(jobs, files, strict=True)
    ]
    of_page = [job.look for job in jobs for _ in job.canvases]
    return {
        "documents": pa.table(
            [pa.array([row[field.name] for row in documents], field.type) for field in DOCUMENTS], schema=DOCUMENTS
        ),
        "pages": truth.pages(
            [job.fact["document_id"] for job in jobs],
            [look.width for look in of_page],
            [look.height for look in of_page],
        ),
        "annotations": truth.annotations([job.fact for job in jobs]),
        "blobs": _blobs(files),
        "quarantine": CORPUS["quarantine"].empty_table(),
    }


def _blobs(files: Sequence[PdfFile]) -> pa.Table:
    """The files as a table; each is copied once."""
    ends = accumulate(len(file.beginning) + len(file.rest) for file in files)
    content = b"".join([part for file in files for part in (file.beginning, file.rest)])
    offsets = np.array([0, *ends], dtype=np.int64)
    return pa.table(
        [
            pa.array([file.sha256 for file in files], pa.string()),
            pa.repeat("application/pdf", len(files)),
            pa.Array.from_buffers(pa.large_binary(), len(files), [None, pa.py_buffer(offsets), pa.py_buffer(content)]),
        ],
        schema=BLOBS,
    )
