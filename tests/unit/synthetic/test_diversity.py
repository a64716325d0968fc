"""The measures of sameness: right on layouts whose overlap is known, and alike whoever counts."""

import math
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from sap_llm.synthetic.diversity import (
    DiversityReport,
    _block_overlaps,
    _Layout,
    _look,
    _sequence_overlaps,
    measure_diversity,
)
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import LANGUAGES, FactRow, Request, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig

COUNT = 60


def request(*, workers: int = 1, untitled_share: float = 0.25) -> Request:
    return Request(
        facts=BusinessFactsConfig(seed=3, chains_per_world=2, lines_max=6),
        documents=SyntheticDocsConfig(
            seed=3,
            workers=workers,
            test_layout_share=0.3,
            untitled_share=untitled_share,
            foreign_language_share=0.1,
            tier="typeset",
            volume_share=0.0,
        ),
    )


def layout(words: str, *boxes: tuple[float, ...], language: str = "de") -> _Layout:
    sequence = words.split()
    grams = Counter(zip(*(sequence[start:] for start in range(4)), strict=False))
    return _Layout(language=language, grams=grams, blocks=np.array(boxes, dtype=float).reshape(-1, 5))


@pytest.fixture(scope="module")
def report() -> DiversityReport:
    return measure_diversity(request(), count=COUNT)


def test_sequences_overlap_by_the_share_of_four_grams() -> None:
    first, second, third = layout("a b c d e f"), layout("x a b c d e"), layout("a b c d e f", language="fr")
    assert _sequence_overlaps([first, second, third]) == [[2 / 3], [2 / 3]]
    assert _sequence_overlaps([first, first, third]) == []  # alone in its language, and itself is no other
    assert _sequence_overlaps([layout("a b c d a b c d"), layout("a b c d")]) == [[1 / 5], [1.0]]  # clipped counts


def test_blocks_overlap_by_their_best_partner_of_the_same_kind() -> None:
    one = layout("", (0, 0.0, 0.0, 0.5, 0.5))
    assert _block_overlaps([one, layout("", (0, 0.0, 0.0, 0.5, 0.5), (1, 0.0, 0.0, 0.5, 0.5))]) == [[1.0], [0.5]]
    assert _block_overlaps([one, layout("", (0, 0.25, 0.0, 0.75, 0.5))]) == [[pytest.approx(1 / 3)]] * 2
    assert _block_overlaps([one]) == []


def test_report_counts_documents_layouts_languages_and_titles(report: DiversityReport) -> None:
    assert report.documents == COUNT == sum(report.document_types.values()) == sum(report.languages.values())
    assert set(report.languages) <= set(LANGUAGES)
    assert 20 < report.layouts <= COUNT
    assert 0 < report.test_layouts < report.layouts
    assert 0.05 < report.untitled_share < 0.5
    assert report.refused < 0.1 * report.layouts
    assert measure_diversity(request(untitled_share=1.0), count=4).untitled_share == 1.0


def test_layouts_are_not_alike(report: DiversityReport) -> None:
    assert 0 < report.sequence_overlap_mean < report.sequence_overlap < 0.3
    assert 0 < report.block_overlap_mean < report.block_overlap < 0.6


def test_documents_of_one_layout_count_as_alike() -> None:
    twins: dict[tuple[str, ...], list[FactRow]] = {}
    for fact in islice(wanted_facts(request()), 4 * COUNT):
        twins.setdefault((fact["world"], fact["issuer"], fact["document_type"]), []).append(fact)
    overlaps, places = [], []
    for facts in [facts for facts in twins.values() if len(facts) > 1][:12]:
        pair = [look for fact in facts[:2] if (look := _look(fact, request=request()))]
        overlaps += [share for row in _sequence_overlaps(pair) for share in row]
        places += [share for row in _block_overlaps(pair) for share in row]
    assert len(overlaps) >= 12
    assert np.mean(overlaps) > 0.6
    assert np.mean(places) > 0.55


def test_entropy_is_within_its_bounds(report: DiversityReport) -> None:
    assert {"total_amount", "order_reference", "number supplier_invoice"} <= {one.concept for one in report.words}
    for spread in report.words:
        assert 1 <= spread.distinct <= spread.layouts
        assert 0 <= spread.entropy_bits <= math.log2(spread.distinct) + 1e-3


def test_report_does_not_depend_on_the_number_of_workers(report: DiversityReport) -> None:
    assert measure_diversity(request(workers=2), count=COUNT) == report
