"""Arms by hash: sticky, near their weight, growing only into the canary, reviewed alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.learning.traffic import ArmName, arm_of, is_fully_reviewed
from sap_llm.schema.errors import ConfigurationError

DOCUMENTS = [f"document-{number}" for number in range(20_000)]
SHARES = st.floats(min_value=0, max_value=1)


@given(document_id=st.text(), weights=st.tuples(SHARES, SHARES), seed=st.integers())
def test_a_greater_weight_takes_no_document_from_the_canary(
    document_id: str, weights: tuple[float, float], seed: int
) -> None:
    less, more = (arm_of(document_id, canary_weight=weight, seed=seed) for weight in sorted(weights))
    assert less is ArmName.CHAMPION or more is ArmName.CANARY


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5, 1.0])
def test_the_canary_gets_its_weight(weight: float) -> None:
    canary = sum(arm_of(each, canary_weight=weight, seed=7) is ArmName.CANARY for each in DOCUMENTS)
    assert canary / len(DOCUMENTS) == pytest.approx(weight, abs=0.015 if 0 < weight < 1 else 0)


def test_two_percent_of_each_arm_are_reviewed() -> None:
    for arm in ArmName:
        own = [each for each in DOCUMENTS if arm_of(each, canary_weight=0.5, seed=7) is arm]
        assert sum(is_fully_reviewed(each, seed=7) for each in own) / len(own) == pytest.approx(0.02, abs=0.006)


def test_a_weight_in_percent_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="canary weight 10 is no share"):
        arm_of("a", canary_weight=10, seed=7)
