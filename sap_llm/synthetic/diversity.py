"""How different generated documents are: numbers that fall when a change makes them alike.

Measuring layouts, label words, label sequences and places of blocks belongs here; making documents does not (`stage`),
nor judging what a trained model makes of them (`evaluation`). A layout is what one issuer uses for one class; documents
of one layout are alike on purpose, so layouts are compared, by the first document of each.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from sap_llm.storage.build import Progress, silent
from sap_llm.synthetic.request import FactRow, Request, wanted_facts
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.stage import make_document, make_draft
from sap_llm.synthetic.style import Style, labels
from sap_llm.synthetic.workers import in_order

CONCEPTS = (
    "order_reference", "order_date", "due_date", "delivery_date", "delivery_note_number", "customer_number",
    "supplier_number", "contract", "vat_id", "lines_amount", "discount", "freight", "net_amount", "tax_amount",
    "total_amount", "currency", "iban", "bic", "payment_terms", "seller_heading", "buyer_heading", "ship_to_heading",
)  # fmt: skip
CONCEPTS_BY_CLASS = ("titles", "number", "date")
_BLOCKS = ("header", "address", "table", "totals", "text", "footer")
_GRAM = 4
_TOKEN = re.compile(r"\w+")


class WordSpread(BaseModel):
    """The words that layouts of one language have for one concept."""

    concept: str
    language: str
    layouts: int
    distinct: int
    entropy_bits: float
    """Of the words over the layouts; the highest that this many layouts can have is log2 of their number."""


class DiversityReport(BaseModel):
    """What `measure_diversity` found; shares and overlaps are from 0 to 1."""

    documents: int
    layouts: int
    test_layouts: int
    document_types: dict[str, int]
    languages: dict[str, int]
    untitled_share: float
    """Documents whose title is missing or misleading."""
    refused: int
    """Layouts whose first document could not be typeset; the overlaps leave them out."""
    sequence_overlap: float
    """Mean over layouts of the highest overlap of label sequences with another layout; 1 means copies."""
    sequence_overlap_mean: float
    """Mean over pairs of layouts of one language."""
    block_overlap: float
    """Mean over layouts of the highest overlap of block boxes with another layout; 1 means copies."""
    block_overlap_mean: float
    """Mean over pairs of layouts."""
    words: list[WordSpread]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """What one layout looks like, by its first document."""

    language: str
    grams: Counter[tuple[str, ...]]
    blocks: npt.NDArray[np.float64]
    """[n, 5]: kind of block, then x0 y0 x1 y1 as shares of the first page's width and height."""


def measure_diversity(request: Request, *, count: int, progress: Progress = silent) -> DiversityReport:
    """Compare the layouts of the first `count` documents that a request means.

    Label sequence: the words of all pages in reading order that the label file of the document's language knows,
    without the words of field values, lower case, punctuation dropped. Names, goods and addresses are no part of it.
    The overlap of layout A with B is BLEU's modified precision for 4-grams with B as the one reference: the share of
    A's 4-grams that B has as well, each counted at most as often as B has it. The mean over layouts of the highest
    overlap with another layout stands for self-BLEU at a fraction of its cost; pairs of different languages are not
    compared, for they share no words.

    Overlap of blocks: every block box of A's first page (as shares of the page) takes its highest intersection over
    union with a block of the same kind on B's first page, 0 where there is none; the overlap is their mean.

    Entropy of words: over layouts of the language, of the word that the layout's style has for the concept, whether or
    not its documents show it; upper and lower case are one, words with a slip of the pen are left out.
    """
    facts = list(islice(wanted_facts(request), count))
    drafts = [make_draft(fact, request.documents) for fact in facts]
    first: dict[tuple[str, str, str], int] = {}
    for index, draft in enumerate(drafts):
        first.setdefault((draft.style.seed, draft.style.language, draft.kind), index)
    styles = [(drafts[index].style, drafts[index].kind) for index in first.values()]
    layouts = list(_layouts([facts[index] for index in first.values()], request, progress))
    sequences, blocks = _sequence_overlaps(layouts), _block_overlaps(layouts)
    return DiversityReport(
        documents=count,
        layouts=len(first),
        test_layouts=sum(style.is_test for style, _ in styles),
        document_types=_counts(draft.kind for draft in drafts),
        languages=_counts(draft.style.language for draft in drafts),
        untitled_share=_mean(not draft.is_titled for draft in drafts),
        refused=len(first) - len(layouts),
        sequence_overlap=_mean(max(row) for row in sequences),
        sequence_overlap_mean=_mean(share for row in sequences for share in row),
        block_overlap=_mean(max(row) for row in blocks),
        block_overlap_mean=_mean(share for row in blocks for share in row),
        words=list(_word_spreads(styles)),
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else 0.0


def _layouts(facts: Sequence[FactRow], request: Request, progress: Progress) -> Iterator[_Layout]:
    work = partial(_look, request=request)
    with closing(in_order(work, facts, workers=request.documents.workers)) as looks:
        for done, layout in enumerate(looks, start=1):
            progress("layouts", done=done, total=len(facts))
            if layout is not None:
                yield layout


def _look(fact: FactRow, *, request: Request) -> _Layout | None:
    """What the layout of a fact looks like (runs in a worker process)."""
    rows = make_document(fact, request.documents)
    if rows.get("quarantine"):
        return None
    language = rows["documents"][0]["language"]
    sequence = _label_sequence(rows, language)
    page, annotation = rows["pages"][0], rows["annotations"][0]
    blocks = [
        [_BLOCKS.index(block["kind"]), *(np.array(block["box"]) / ([page["width"], page["height"]] * 2))]
        for block in annotation["layout_blocks"]
        if block["page"] == 1
    ]
    grams = Counter(zip(*(sequence[start:] for start in range(_GRAM)), strict=False))
    return _Layout(language=language, grams=grams, blocks=np.array(blocks).reshape(-1, 5))


def _label_sequence(rows: Mapping[str, list[Row]], language: str) -> list[str]:
    annotation = rows["annotations"][0]
    entries = [*annotation["fields"], *(field for item in annotation["line_items"] for field in item["fields"])]
    values = {(entry["page"], word) for entry in entries for word in entry["word_ids"]}
    known = _vocabulary(language)
    return [
        token
        for page in rows["pages"]
        for index, word in enumerate(page["words"])
        if (page["page_number"], index) not in values
        for token in _TOKEN.findall(word.casefold())
        if token in known
    ]


@cache
def _vocabulary(language: str) -> frozenset[str]:
    return frozenset(token for text in _texts(labels(language)) for token in _TOKEN.findall(text.casefold()))


def _texts(entry: Any) -> Iterator[str]:
    """All strings of a label file, without its `{placeholders}`."""
    if isinstance(entry, dict):
        for key, value in entry.items():
            yield from _texts(value)
            yield str(key).replace("_", " ")  # names of codes are keys
    elif isinstance(entry, list):
        for value in entry:
            yield from _texts(value)
    else:
        yield re.sub(r"\{\w+\}", " ", str(entry))


def _sequence_overlaps(layouts: Sequence[_Layout]) -> list[list[float]]:
    """For every layout its overlap with each other layout of its language; layouts without company are left out."""
    found = []
    for one in layouts:
        total = sum(one.grams.values())
        others = [other for other in layouts if other is not one and other.language == one.language]
        if total and others:
            found.append([(one.grams & other.grams).total() / total for other in others])
    return found


def _block_overlaps(layouts: Sequence[_Layout]) -> list[list[float]]:
    """For every layout its overlap of blocks with each other layout."""
    shown = [layout for layout in layouts if len(layout.blocks)]
    if len(shown) < 2:
        return []
    every = np.concatenate([layout.blocks for layout in shown])
    starts = np.cumsum([0, *(len(layout.blocks) for layout in shown[:-1])])
    found = []
    for index, layout in enumerate(shown):
        best = np.maximum.reduceat(_overlap(layout.blocks, every), starts, axis=1)
        found.append(np.delete(best.mean(axis=0), index).tolist())
    return found


def _overlap(ones: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of all pairs of boxes, 0 for those of different kinds."""
    low = np.maximum(ones[:, None, 1:3], others[None, :, 1:3])
    high = np.minimum(ones[:, None, 3:5], others[None, :, 3:5])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 3:5] - boxes[:, 1:3]).prod(axis=1) for boxes in (ones, others)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    is_same = ones[:, None, 0] == others[None, :, 0]
    return np.where(is_same, shared / np.maximum(union, 1e-12), 0.0)


def _word_spreads(styles: Sequence[tuple[Style, str]]) -> Iterator[WordSpread]:
    words: dict[tuple[str, str], list[str]] = {}
    for style, kind in styles:
        named = [(concept, "") for concept in CONCEPTS] + [(concept, kind) for concept in CONCEPTS_BY_CLASS]
        for concept, of_kind in named:
            word = style.word(concept, of_kind).casefold()
            if word in _synonyms(style.language, concept, of_kind):
                name = f"{concept} {of_kind.lower()}".strip()
                words.setdefault((name, style.language), []).append(word)
    for (concept, language), found in sorted(words.items()):
        counts = Counter(found)
        entropy = -sum(n / len(found) * math.log2(n / len(found)) for n in counts.values())
        yield WordSpread(
            concept=concept, language=language, layouts=len(found), distinct=len(counts),
            entropy_bits=round(entropy, 3) + 0.0,
        )  # fmt: skip


@cache
def _synonyms(language: str, concept: str, kind: str) -> frozenset[str]:
    """All words for a concept in lower case, those reserved for test layouts too."""
    every = labels(language)
    found: list[str] = []
    for words in (every[concept], every["test_only"].get(concept, ())):
        found += words.get(kind, ()) if isinstance(words, dict) else words
    return frozenset(word.casefold() for word in found)
