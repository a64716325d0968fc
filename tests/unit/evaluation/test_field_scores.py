"""Field scores count hits, inventions and misses as a person would."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.evaluation.fields import ANNOTATED, REPORTED_FIELDS, Score, compare_field, overlap, score_fields


def _value(name: str, value: str, **changes: Any) -> dict[str, Any]:
    return {
        "field": name,
        "value": value,
        "printed": value,
        "page": 1,
        "box": [10.0, 10.0, 60.0, 20.0],
        "word_ids": [0],
        "confidence": 0.9,
        "source": "model",
    } | changes


def _row(document_id: str, *fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "document_id": document_id,
        "revision": 1,
        "document_type": "SUPPLIER_INVOICE",
        "document_subtype": None,
        "type_confidence": 1.0,
        "fields": list(fields),
        "line_items": [],
    } | changes


def test_a_wrong_value_is_invented_and_missed() -> None:
    scores = score_fields(
        [_row("a", _value("total_amount", "10.00"), _value("iban", "DE89370400440532013000"))],
        [_row("a", _value("total_amount", "11.00"), _value("bic", "COBADEFFXXX"))],
    )
    assert scores.overall == Score(true_positives=0, false_positives=2, false_negatives=2)
    assert scores.by_field["total_amount"] == Score(false_positives=1, false_negatives=1)
    assert scores.by_field["bic"] == Score(false_positives=1)
    assert scores.by_field["iban"] == Score(false_negatives=1)


@pytest.mark.parametrize(
    ("name", "true", "predicted"),
    [
        ("total_amount", "1234.50", "1.234,50 EUR"),
        ("document_date", "2025-03-14", "14.03.2025"),
        ("seller_name", "Nordwind Handel GmbH", "NORDWIND HANDEL GMBH,"),
        ("iban", "DE89370400440532013000", "DE89 3704 0044 0532 0130 00"),
    ],
)
def test_normalised_compares_meaning_strict_compares_print(name: str, true: str, predicted: str) -> None:
    truth, guess = [_row("a", _value(name, true))], [_row("a", _value(name, predicted))]
    assert score_fields(truth, guess).f1 == 1
    assert score_fields(truth, guess, mode="strict").f1 == 0


def test_strict_wants_the_right_place() -> None:
    truth = [_row("a", _value("total_amount", "10.00"))]
    elsewhere = [_row("a", _value("total_amount", "10.00", box=[300.0, 10.0, 350.0, 20.0]))]
    other_page = [_row("a", _value("total_amount", "10.00", page=2))]
    assert score_fields(truth, elsewhere).f1 == score_fields(truth, other_page).f1 == 1
    assert score_fields(truth, elsewhere, mode="strict").f1 == 0
    assert score_fields(truth, other_page, mode="strict").f1 == 0


def test_any_mention_of_a_value_will_do_and_counts_once() -> None:
    second = _value("document_number", "RE-7", box=[10.0, 700.0, 60.0, 710.0])
    truth = [_row("a", _value("document_number", "RE-7"), second)]
    scores = score_fields(truth, [_row("a", second)], mode="strict")
    assert scores.overall == Score(true_positives=1)


def test_two_true_values_of_a_field_are_both_asked_for() -> None:
    truth = [_row("a", _value("tax_rate", "19"), _value("tax_rate", "7"))]
    scores = score_fields(truth, [_row("a", _value("tax_rate", "7"))])
    assert scores.overall == Score(true_positives=1, false_negatives=1)


def test_what_is_not_printed_is_neither_asked_for_nor_forbidden() -> None:
    hidden = _value("due_date", "2025-04-13", printed=None, page=None, box=None, word_ids=None)
    truth = [_row("a", hidden)]
    assert score_fields(truth, [_row("a")]).overall == Score()
    assert score_fields(truth, [_row("a", _value("due_date", "2025-04-13"))]).overall == Score()
    assert score_fields(truth, [_row("a", _value("due_date", "2025-05-01"))]).overall == Score(false_positives=1)


def test_views_add_up_and_follow_the_documents() -> None:
    documents = [
        {"document_id": "a", "language": "de", "source": "zugferd"},
        {"document_id": "b", "language": "en", "source": "synthetic"},
    ]
    truth = [
        _row("a", _value("iban", "DE89370400440532013000")),
        _row("b", _value("currency", "EUR"), document_type="PURCHASE_ORDER"),
    ]
    scores = score_fields(truth, [_row("a", _value("iban", "DE89370400440532013000"))], documents=documents)
    assert scores.by_language == {"de": Score(true_positives=1), "en": Score(false_negatives=1)}
    assert scores.by_source == {"synthetic": Score(false_negatives=1), "zugferd": Score(true_positives=1)}
    assert scores.by_type.keys() == {"SUPPLIER_INVOICE", "PURCHASE_ORDER"}
    for view in (scores.by_field, scores.by_type, scores.by_language, scores.by_source, scores.by_document):
        assert sum(view.values(), Score()) == scores.overall


def test_partial_truths_judge_only_what_they_cover() -> None:
    documents = [{"document_id": name, "language": "en", "source": name} for name in ("sroie", "invoice2data")]
    truth = [_row(name, _value("total_amount", "10.00")) for name in ("sroie", "invoice2data")]
    guess = [
        _row(name, _value("total_amount", "10.00"), _value("iban", "X"), _value("document_date", "2025-01-01"))
        for name in ("sroie", "invoice2data")
    ]
    scopes = {"sroie": ["total_amount", "document_date"], "invoice2data": [ANNOTATED]}
    scores = score_fields(truth, guess, documents=documents, scopes=scopes)
    assert scores.by_source["sroie"] == Score(true_positives=1, false_positives=1)
    assert scores.by_source["invoice2data"] == Score(true_positives=1)


def test_the_latest_revision_counts_and_strangers_are_refused() -> None:
    old, new = _row("a", _value("currency", "USD")), _row("a", _value("currency", "EUR"), revision=2)
    assert score_fields([new, old], [_row("a", _value("currency", "EUR"))]).f1 == 1
    with pytest.raises(ValueError, match="have no truth, first b"):
        score_fields([old], [_row("b")])


amounts = st.integers(0, 10**7).map(lambda cents: f"{cents / 100:.2f}")
values = st.lists(st.tuples(st.sampled_from(["total_amount", "net_amount", "tax_amount"]), amounts), max_size=6)


@given(values)
def test_the_truth_itself_scores_one(pairs: list[tuple[str, str]]) -> None:
    row = _row("a", *(_value(name, value) for name, value in pairs))
    for mode in ("normalised", "strict"):
        scores = score_fields([row], [row], mode=mode)
        assert scores.overall.false_positives == scores.overall.false_negatives == 0
        assert scores.overall.true_positives == len(set(pairs))


@given(values, values)
def test_counts_are_consistent_and_strict_is_never_kinder(
    true: list[tuple[str, str]], predicted: list[tuple[str, str]]
) -> None:
    truth = [_row("a", *(_value(name, value) for name, value in true))]
    guess = [_row("a", *(_value(name, value) for name, value in predicted))]
    normalised, strict = (score_fields(truth, guess, mode=mode).overall for mode in ("normalised", "strict"))
    assert normalised.support == len(set(true))
    assert normalised.true_positives + normalised.false_positives == len(set(predicted))
    assert strict.true_positives <= normalised.true_positives


def test_f1_is_the_harmonic_mean() -> None:
    score = Score(true_positives=6, false_positives=2, false_negatives=4)
    assert (score.precision, score.recall) == (0.75, 0.6)
    assert score.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert Score().f1 == Score().precision == Score().recall == 0


def test_overlap_of_boxes() -> None:
    assert overlap([0, 0, 10, 10], [0, 0, 10, 10]) == 1
    assert overlap([0, 0, 10, 10], [5, 0, 15, 10]) == pytest.approx(1 / 3)
    assert overlap([0, 0, 10, 10], [10, 0, 20, 10]) == 0
    assert overlap(None, [0, 0, 1, 1]) == 0


def test_outcomes_explain_themselves() -> None:
    truth, guess = [_value("total_amount", "10.00")], [_value("total_amount", "11.00", confidence=0.75)]
    invented, missed = compare_field("a", "total_amount", truth=truth, predicted=guess)
    assert (invented.kind, invented.truth, invented.predicted, invented.confidence) == (
        "invented",
        "10.00",
        "11.00",
        0.75,
    )
    assert (missed.kind, missed.truth, missed.predicted) == ("missed", "10.00", None)


def test_every_reported_field_is_in_the_taxonomy() -> None:
    from sap_llm.schema.taxonomy import load_taxonomy

    assert {load_taxonomy().field(name).level for name in REPORTED_FIELDS} == {"header"}
