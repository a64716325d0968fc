"""The risk-coverage curve: what is wrong among what is kept, for every share that can be kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.evaluation.calibration import risk_coverage

PAIRS = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.floats(0, 1)), min_size=1, max_size=40)


@given(PAIRS, st.floats(0, 1))
def test_the_threshold_keeps_the_most_within_the_target(pairs: list[tuple[float, float]], target: float) -> None:
    confidences, errors = (list(values) for values in zip(*pairs, strict=True))
    curve = risk_coverage(confidences, errors)
    means = {
        level: np.mean([error for confidence, error in pairs if confidence >= level]) for level in set(confidences)
    }
    within = [level for level, mean in means.items() if mean <= target + 1e-12]
    threshold = curve.threshold_for(target + 1e-12)
    assert threshold == (min(within) if within else None)
    if threshold is not None:
        coverage, risk = curve.at(threshold)
        assert coverage == pytest.approx(sum(confidence >= threshold for confidence in confidences) / len(pairs))
        assert risk == pytest.approx(means[threshold])


def test_equal_confidences_are_kept_together_and_all_of_them_have_the_overall_error() -> None:
    curve = risk_coverage([0.9, 0.9, 0.2, 0.2], [0.0, 0.5, 1.0, 0.5])
    assert curve.thresholds.tolist() == [0.9, 0.2]
    assert curve.coverage.tolist() == [0.5, 1.0]
    assert curve.risk.tolist() == [0.25, 0.5]
    assert curve.area == pytest.approx(0.5 * 0.25 + 0.5 * 0.5)
    assert curve.at(0.95) == (0.0, None)


def test_without_predictions_there_is_no_threshold() -> None:
    assert risk_coverage([], []).threshold_for(1.0) is None
