"""From word scores to layout blocks: heads, addresses, tables, totals, texts and feet of pages.

Belongs here: the kind of each word's block and the grouping into blocks. Tables have their structure from
`table_decoding`; here they are one block among others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.candidates import Scroll
from sap_llm.modeling.grouping import grouped
from sap_llm.modeling.labels import BLOCK_KINDS, BLOCK_START
from sap_llm.modeling.protocol import PredictedBlock
from sap_llm.schema.page import Page

Array = npt.NDArray[Any]
_LIKELY = 0.5


def decode_blocks(pages: Sequence[Page], kinds: Array, starts: Array, *, scroll: Scroll) -> tuple[PredictedBlock, ...]:
    """Blocks in the reading order of their first words.

    Args:
        pages: The document's pages in order.
        kinds: float [n, 1 + kinds], probabilities over the words of all pages.
        starts: float [n, 4], probabilities of beginning a block and others, see `labels.BLOCK_START`.
        scroll: The pages' words concatenated.
    """
    chosen = kinds.argmax(axis=1)
    blocks = []
    for words in grouped(scroll, chosen, starts[:, BLOCK_START] >= _LIKELY):
        index = int(scroll.pages[words[0]])
        page = pages[index]
        ids = [word - scroll.starts[index] for word in words]
        kind = int(chosen[words[0]])
        blocks.append(
            PredictedBlock(
                page=page.page_number,
                kind=BLOCK_KINDS[kind - 1],
                box=page.box_of(ids),
                word_ids=tuple(ids),
                confidence=float(np.mean(kinds[words, kind])),
            )
        )
    return tuple(blocks)
