"""Documents of the product's generator as a shard, as pages and as pictures, made once for all families."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from sap_llm.modeling.shards import Shard, encode_shard, read_shard
from sap_llm.reading.pdf import raster_pages
from sap_llm.schema.page import Page
from sap_llm.schema.tables import CORPUS, conform
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import Request
from sap_llm.synthetic.stage import SyntheticDocsConfig
from sap_llm.synthetic.stream import DocumentStream

REQUEST = Request(
    facts=BusinessFactsConfig(seed=11, chains_per_world=2, lines_max=4),
    documents=SyntheticDocsConfig(
        seed=11, workers=1, test_layout_share=0.0, untitled_share=0.0, foreign_language_share=0.1, tier="volume",
        volume_share=1.0,
    ),
)  # fmt: skip
_COUNT = 12
_SCALE = 0.5  # pixels a point


@dataclass(frozen=True)
class Generated:
    """The first documents of the stream."""

    tables: dict[str, pa.Table]
    shard: Shard
    pages: list[list[Page]]
    truths: list[dict[str, Any]]
    pictures: npt.NDArray[np.uint8]
    """First pages, uint8 [documents, height, width]."""


@pytest.fixture(scope="session")
def generated() -> Generated:
    documents = list(islice(DocumentStream(REQUEST), _COUNT))
    rows = {name: [row for document in documents for row in document[name]] for name in CORPUS}
    tables = {name: conform(rows[name], schema) for name, schema in CORPUS.items()}
    first = [_gray(next(raster_pages(one["blobs"][0]["content"], name="x", scale=_SCALE))) for one in documents]
    height, width = (min(page.shape[axis] for page in first) for axis in (0, 1))
    return Generated(
        tables=tables,
        shard=read_shard(encode_shard(tables["documents"], tables["pages"], tables["annotations"])),
        pages=[[Page.from_row(row) for row in document["pages"]] for document in documents],
        truths=[document["annotations"][0] for document in documents],
        pictures=np.stack([page[:height, :width] for page in first]),
    )


def _gray(page: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return page.mean(axis=-1).astype(np.uint8)
