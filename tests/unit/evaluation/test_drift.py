"""Drift is seen when it is planted, and chance alone alarms no more often than the level says."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sap_llm.evaluation.drift import CATEGORIES, NUMBERS, DriftSettings, false_alarms, holm, measure_drift, psi

CLASSES = ["SUPPLIER_INVOICE", "PURCHASE_ORDER", "DUNNING", "FORM"]
SETTINGS = DriftSettings()
LOOSE = DriftSettings(psi=0.0, distance=0.0)
"""Nothing but the tests decides."""


def documents(count: int, *, seed: int = 1, **changed: Any) -> pa.Table:
    """Documents with the features of a training set; `changed` replaces columns."""
    rng = np.random.default_rng(seed)
    words = rng.lognormal(5, 0.6, count).astype(int)
    columns = {
        "document_type": rng.choice(
            ["SUPPLIER_INVOICE", "PURCHASE_ORDER", "DUNNING", "FORM"], count, p=[0.5, 0.3, 0.19, 0.01]
        ),
        "language": rng.choice(["de", "en", "fr", "es"], count),
        "source": rng.choice(["synthetic", "qorsync"], count, p=[0.9, 0.1]),
        "word_count": words,
        "character_count": words * 6 + rng.integers(0, 50, count),
        "digit_share": rng.beta(4, 16, count),
        "upper_share": rng.beta(3, 10, count),
        "amount_count": rng.poisson(12, count),
        "date_count": rng.poisson(3, count),
        "quality": np.clip(rng.normal(0.97, 0.02, count), 0, 1),
        "page_count": rng.choice([1, 2, 3], count, p=[0.8, 0.15, 0.05]),
    }
    return pa.table({name: pa.array(values) for name, values in (columns | changed).items()})


def alarms(reference: pa.Table, new: pa.Table, settings: DriftSettings = SETTINGS) -> set[str]:
    return {entry.name for entry in measure_drift(reference, new, settings) if entry.is_alarm}


def test_every_feature_is_measured_once() -> None:
    found = measure_drift(documents(200), documents(200, seed=2), SETTINGS)
    assert [entry.name for entry in found] == [*CATEGORIES, *NUMBERS]


@pytest.mark.parametrize("settings", [SETTINGS, LOOSE], ids=["as configured", "tests alone"])
@pytest.mark.parametrize("count", [60, 400, 3000])
def test_false_alarms_keep_the_level(settings: DriftSettings, count: int) -> None:
    """Halvings of the same documents; more alarms than the bound come by chance once in a thousand times."""
    bound = binom.ppf(0.999, settings.resamples, settings.level)
    assert false_alarms(documents(count), settings, seed=7) <= bound


def test_the_level_is_used_up_where_nothing_but_the_tests_decides() -> None:
    """A test that never alarms would keep every level."""
    eager = LOOSE.model_copy(update={"level": 0.9, "resamples": 20})
    assert false_alarms(documents(400), eager, seed=7) >= 5


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("document_type", ["DUNNING"] * 1000),
        ("document_type", ["NEW_CLASS"] * 300 + ["SUPPLIER_INVOICE"] * 700),
        ("language", ["de"] * 700 + ["en"] * 300),
        ("source", ["sroie"] * 400 + ["synthetic"] * 600),
        ("word_count", np.full(1000, 40)),
        ("quality", np.linspace(0.80, 0.99, 1000)),
        ("digit_share", np.random.default_rng(3).beta(8, 16, 1000)),
        ("page_count", np.repeat([1, 2], 500)),
    ],
)
def test_planted_drift_is_found_and_nothing_else(name: str, values: Any) -> None:
    assert alarms(documents(2000), documents(1000, seed=2, **{name: values})) == {name}


def test_a_difference_that_does_not_matter_is_no_alarm() -> None:
    rng = np.random.default_rng(5)
    shifted = documents(60_000, seed=2, digit_share=rng.beta(4.1, 16, 60_000))
    found = {entry.name: entry for entry in measure_drift(documents(60_000), shifted, SETTINGS)}
    assert found["digit_share"].p_value < SETTINGS.level
    assert not found["digit_share"].is_alarm


def test_few_documents_have_a_large_psi_and_no_alarm() -> None:
    found = measure_drift(documents(2000), documents(12, seed=2), SETTINGS)
    assert max(entry.psi for entry in found) > SETTINGS.psi
    assert not any(entry.is_alarm for entry in found)


def test_missing_values_are_a_category_and_no_number() -> None:
    languages = pa.array([None] * 600 + ["de"] * 400, type=pa.string())
    qualities = np.full(1000, np.nan)
    found = alarms(documents(2000), documents(1000, seed=2, language=languages, quality=qualities))
    assert found == {"language", "quality"}


def test_tables_without_rows_say_nothing() -> None:
    assert measure_drift(documents(0), documents(10), SETTINGS) == []


@given(st.lists(st.integers(0, 500), min_size=2, max_size=8), st.lists(st.integers(0, 500), min_size=2, max_size=8))
def test_psi_is_symmetric_positive_and_zero_for_the_same(one: list[int], other: list[int]) -> None:
    size = min(len(one), len(other))
    left, right = (np.array(counts[:size], dtype=float) for counts in (one, other))
    assert psi(left, left) == 0
    assert psi(left, right) >= 0
    assert psi(left, right) == pytest.approx(psi(right, left))


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
