"""Kappa and alpha equal their definitions exactly, and what is undefined is said to be."""

from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from sap_llm.annotation.agreement import measure_agreement
from sap_llm.annotation.kappa import alpha_of_labels, cohen_kappa
from tests.support.people import answer, field, line, tables

CLASSES = ("SUPPLIER_INVOICE", "PURCHASE_ORDER", "GOODS_RECEIPT")
HERE, NEAR, AWAY = (10.0, 10.0, 60.0, 20.0), (11.0, 10.0, 61.0, 20.0), (300.0, 10.0, 350.0, 20.0)


def _measure(rows: list[dict[str, Any]], **options: Any) -> Any:
    return measure_agreement(*tables(rows), **({"resamples": 0} | options))


def _exact_kappa(one: list[str], other: list[str]) -> Fraction | None:
    """Cohen 1960 with probabilities as fractions."""
    size = len(one)
    observed = Fraction(sum(a == b for a, b in zip(one, other, strict=True)), size)
    chance = sum(Fraction(one.count(label), size) * Fraction(other.count(label), size) for label in {*one, *other})
    return None if chance == 1 else (observed - chance) / (1 - chance)


def _planted(table: list[list[int]], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Answers of ann and bob with these counts of (ann's class, bob's class)."""
    said = [
        (labels[row], labels[column])
        for row, counts in enumerate(table)
        for column, count in enumerate(counts)
        for _ in range(count)
    ]
    return [
        answer(f"d{number}", who, kind=kind)
        for number, kinds in enumerate(said)
        for who, kind in zip(("ann", "bob"), kinds, strict=True)
    ]


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        ([[20, 5], [10, 15]], Fraction(2, 5)),  # the usual example: 0.7 observed, 0.5 by chance
        ([[45, 15], [25, 15]], Fraction(3, 23)),
        ([[25, 35], [5, 35]], Fraction(7, 27)),  # the same agreement as above, other marginals
        ([[0, 10], [10, 0]], Fraction(-1)),
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], Fraction(29, 59)),  # Cohen 1960, table 1: 0.492
    ],
)
def test_class_kappa_is_that_of_the_planted_table(table: list[list[int]], kappa: Fraction) -> None:
    found = _measure(_planted(table, CLASSES))
    assert found.class_kappa.value == float(kappa)
    assert found.class_kappa.documents == sum(map(sum, table))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=60))
def test_kappa_equals_the_definition_and_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    one, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    exact = _exact_kappa(one, other)
    found = cohen_kappa(one, other)
    if exact is None:
        assert found is None
    else:
        assert found == float(exact)
        assert found == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)


MARKS = st.sampled_from([(), (HERE,), (AWAY,), (HERE, AWAY)])


@settings(deadline=None)  # the first example loads the taxonomy
@given(st.lists(st.tuples(*[MARKS] * 4), min_size=1, max_size=12))
def test_field_kappa_equals_that_of_explicit_span_labels(documents: list[tuple[Any, ...]]) -> None:
    rows, labels = [], {"document_date": ([], []), "total_amount": ([], [])}
    for number, marks in enumerate(documents):
        for who, place in (("ann", 0), ("bob", 2)):
            marked = [
                field(name, "7", box)
                for name, boxes in zip(labels, marks[place : place + 2], strict=True)
                for box in boxes
            ]
            rows.append(answer(f"d{number}", who, marked))
            for name, boxes in zip(labels, marks[place : place + 2], strict=True):
                span = f"{number}:{name}:{boxes}" if boxes else "absent"
                labels[name][who == "bob"].append(span)
    found = _measure(rows)
    marked = [name for name in labels if any(label != "absent" for side in labels[name] for label in side)]
    assert sorted(found.by_field) == sorted(marked)
    for name in marked:
        exact = _exact_kappa(*labels[name])
        assert found.by_field[name].kappa.value == (None if exact is None else float(exact))
    pooled = [[label for name in marked for label in labels[name][side]] for side in (0, 1)]
    exact = _exact_kappa(*pooled) if marked else None
    assert found.field_kappa.value == (None if exact is None else float(exact))
    alpha = _exact_alpha([list(pair) for pair in zip(*pooled, strict=True)])
    assert found.field_alpha == (None if alpha is None else pytest.approx(float(alpha), abs=1e-12))


def _exact_alpha(units: list[list[str]]) -> Fraction | None:
    """Krippendorff's alpha from its coincidence matrix, in fractions."""
    units = [unit for unit in units if len(unit) > 1]
    matrix: dict[tuple[str, str], Fraction] = {}
    for unit in units:
        for one, other in [*combinations(unit, 2), *[pair[::-1] for pair in combinations(unit, 2)]]:
            matrix[one, other] = matrix.get((one, other), Fraction(0)) + Fraction(1, len(unit) - 1)
    totals: dict[str, Fraction] = {}
    for (one, _), count in matrix.items():
        totals[one] = totals.get(one, Fraction(0)) + count
    size = sum(totals.values())
    observed = sum(count for (one, other), count in matrix.items() if one != other)
    expected = sum(totals[one] * totals[other] for one in totals for other in totals if one != other)
    return None if not expected else 1 - (size - 1) * observed / expected


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=15))
def test_alpha_equals_its_coincidence_matrix(units: list[list[str]]) -> None:
    found = alpha_of_labels(
        np.array([number for number, unit in enumerate(units) for _ in unit]),
        np.array([ord(label) - 97 for unit in units for label in unit]),
    )
    exact = _exact_alpha(units)
    assert found == (None if exact is None else pytest.approx(float(exact), abs=1e-12))


def test_alpha_of_krippendorffs_own_example() -> None:
    """Krippendorff 2011, section C: four observers, twelve units, nominal 0.743."""
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    cells = [(unit, label) for row in table for unit, label in enumerate(row) if label is not None]
    found = alpha_of_labels(np.array([unit for unit, _ in cells]), np.array([label for _, label in cells]))
    assert found == pytest.approx(0.743, abs=5e-4)


def test_what_is_undefined_is_said_to_be() -> None:
    one_class = _measure([answer(f"d{number}", who) for number in range(5) for who in ("ann", "bob")])
    assert one_class.class_kappa.value is None
    assert one_class.class_alpha is None
    assert (one_class.class_kappa.documents, one_class.class_kappa.undefined) == (0, 5)
    assert one_class.metrics()["kappa_class"] == "undefined"
    alone = _measure([answer("d1", "ann", {"total_amount": "7"}), answer("d2", "bob", {"total_amount": "7"})])
    assert (alone.documents, alone.documents_doubled) == (2, 0)
    assert alone.class_kappa.value is alone.field_kappa.value is alone.field_alpha is None
    assert alone.class_kappa.agreed is None
    assert alone.overlaps is None
    nothing = _measure([], resamples=10)
    assert nothing.class_kappa.value is None
    assert nothing.documents == 0


def test_a_pair_without_kappa_does_not_water_the_mean() -> None:
    rows = _planted([[20, 5], [10, 15]], CLASSES)
    rows += [answer(f"x{number}", who) for number in range(100) for who in ("cyd", "dan")]
    found = _measure(rows)
    assert found.class_kappa.value == 0.4
    assert (found.class_kappa.documents, found.class_kappa.undefined) == (50, 100)
    assert found.by_pair["cyd", "dan"].class_kappa is None
    assert found.by_pair["ann", "bob"].class_kappa == 0.4


def test_three_people_count_by_pairs_weighted_by_documents() -> None:
    said = {"ann": "aabbab", "bob": "aabbba", "cyd": "abba"}
    names = {"a": CLASSES[0], "b": CLASSES[1]}
    rows = [answer(f"d{n}", who, kind=names[letter]) for who, text in said.items() for n, letter in enumerate(text)]
    expected = [
        (cohen_kappa_score(list(said[one])[: len(said[other])], list(said[other])), len(said[other]))
        for one, other in combinations(said, 2)
    ]
    mean = sum(kappa * size for kappa, size in expected) / sum(size for _, size in expected)
    found = _measure(rows).class_kappa
    assert found.value == pytest.approx(mean, abs=1e-12)
    assert (found.documents, found.comparisons) == (6, 6 + 4 + 4)


def test_the_latest_revision_counts_and_an_arbitration_is_no_opinion() -> None:
    rows = _planted([[3, 0], [0, 3]], CLASSES)
    rows += [answer("d0", "ann", kind=CLASSES[2], revision=2), answer("d0", "ann", revision=3)]
    rows += [answer("d0", "sue", kind=CLASSES[1], queue="seniors", why="stamp", decides_on=["d0/ann/3"])]
    found = _measure(rows)
    assert found.class_kappa.value == 1.0
    assert set(found.by_pair) == {("ann", "bob")}


@pytest.mark.parametrize(
    ("one", "other", "same", "same_value"),
    [
        (field("total_amount", "1234.50", HERE), field("total_amount", "1,234.50", NEAR), True, True),
        (field("total_amount", "1234.50", HERE), field("total_amount", "1234.50", AWAY), False, True),
        (field("total_amount", "1234.50", HERE), field("total_amount", "1234.50", HERE, page=2), False, True),
        (field("total_amount", "1234.50", HERE), field("total_amount", "1234.50"), True, True),
        (field("total_amount", "1234.50", HERE), field("total_amount", "1284.50", HERE), False, False),
        (
            field("total_amount", "7", None, page=1, word_ids=[3, 4]),
            field("total_amount", "7", None, page=1, word_ids=[3, 4]),
            True,
            True,
        ),
        (
            field("total_amount", "7", None, page=1, word_ids=[3, 4]),
            field("total_amount", "7", None, page=1, word_ids=[3, 5]),
            False,
            True,
        ),
    ],
)
def test_values_count_as_they_mean_and_places_by_words_or_overlap(
    one: dict[str, Any], other: dict[str, Any], same: bool, same_value: bool
) -> None:
    found = _measure([answer("d1", "ann", [one]), answer("d1", "bob", [other])]).by_field["total_amount"]
    assert (found.both, found.same, found.same_value) == (1, same, same_value)


def test_every_mention_must_have_its_like() -> None:
    both = [field("order_reference", "4711", HERE), field("order_reference", "4712", AWAY)]
    found = _measure([answer("d1", "ann", both), answer("d1", "bob", both[:1]), answer("d2", "ann", both)])
    assert (found.by_field["order_reference"].both, found.by_field["order_reference"].same) == (1, 0)
    assert _measure([answer("d1", "ann", both), answer("d1", "bob", both[::-1])]).by_field["order_reference"].same == 1


def test_line_items_are_no_header_fields() -> None:
    rows = [answer("d1", who, line_items=[line(1, line_quantity="2")]) for who in ("ann", "bob")]
    assert _measure(rows).by_field == {}


def test_overlap_of_boxes_is_measured_where_values_differ_too() -> None:
    rows = [answer("d1", "ann", [field("total_amount", "1", (0, 0, 10, 10))])]
    rows += [answer("d1", "bob", [field("total_amount", "2", (0, 0, 10, 20))])]
    found = _measure(rows)
    assert found.overlaps.quantiles[50] == found.by_field["total_amount"].overlap == 0.5


def test_the_interval_holds_the_figure_and_comes_from_the_seed() -> None:
    rows = _planted([[20, 5], [10, 15]], CLASSES)
    found = _measure(rows, resamples=200, seed=7).class_kappa
    assert found.low < 0.4 < found.high
    assert found == _measure(rows, resamples=200, seed=7).class_kappa
    assert found != _measure(rows, resamples=200, seed=8).class_kappa


def test_tables_that_do_not_belong_together_are_refused() -> None:
    annotations, answers = tables([answer("d1", "ann"), answer("d1", "bob")])
    with pytest.raises(ValueError, match="do not belong together"):
        measure_agreement(annotations, answers.slice(1))
