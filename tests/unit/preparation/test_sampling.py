"""Sampling is exact, deterministic, touches training documents alone, and loses nothing."""

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sap_llm.preparation.plan import PREPARED, STATUS_KEPT, STATUS_LEFT_OUT
from sap_llm.preparation.sampling import Sampling, sample
from sap_llm.preparation.splits import SPLITS
from sap_llm.schema.tables import conform

_ROWS = st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from([*SPLITS, None])), max_size=60)


def _prepared(rows: list[tuple[str, str | None]]) -> pa.Table:
    return conform(
        [
            {
                "row": number,
                "document_id": f"doc-{number}",
                "input": "i",
                "document_type": document_type,
                "status": STATUS_KEPT if split else "quarantined",
                "reason": None if split else "low_quality",
                "split": split,
            }
            for number, (document_type, split) in enumerate(rows)
        ],
        PREPARED,
    )


def _trained(table: pa.Table) -> Counter[str]:
    return Counter(row["document_type"] for row in table.to_pylist() if row["split"] == "train")


@settings(max_examples=60, deadline=None)
@given(_ROWS, st.integers(1, 12), st.sampled_from(["capped", "balanced"]), st.integers(0, 3))
def test_each_class_gives_exactly_its_quota(
    rows: list[tuple[str, str | None]], number: int, mode: str, seed: int
) -> None:
    prepared = _prepared(rows)
    before = _trained(prepared)
    sampled = sample(prepared, Sampling(mode=mode, per_class=number), seed=seed)
    quota = number if mode == "capped" else max(number, min(before.values(), default=0))
    assert _trained(sampled) == {name: min(count, quota) for name, count in before.items()}
    assert sampled.schema == prepared.schema
    for old, new in zip(prepared.to_pylist(), sampled.to_pylist(), strict=True):
        if new["status"] == STATUS_LEFT_OUT:
            assert old["split"] == "train"
            assert new == old | {"status": STATUS_LEFT_OUT, "reason": "class_quota", "split": None}
        else:
            assert new == old


@settings(max_examples=40, deadline=None)
@given(_ROWS, st.randoms(use_true_random=False), st.integers(1, 12))
def test_the_order_of_rows_does_not_matter_and_a_higher_quota_keeps_what_a_lower_one_takes(
    rows: list[tuple[str, str | None]], chance: object, number: int
) -> None:
    prepared = _prepared(rows)
    order = list(range(len(rows)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    capped = sample(prepared, Sampling(mode="capped", per_class=number), seed=7)
    shuffled = sample(prepared.take(pa.array(order, pa.int64())), Sampling(mode="capped", per_class=number), seed=7)
    assert shuffled.sort_by("row").to_pylist() == capped.to_pylist()
    more = sample(prepared, Sampling(mode="capped", per_class=number + 1), seed=7)
    kept = [{row["row"] for row in table.to_pylist() if row["split"] == "train"} for table in (capped, more)]
    assert kept[0] <= kept[1]


def test_another_seed_takes_others() -> None:
    prepared = _prepared([("A", "train")] * 200)
    taken = [
        {row["row"] for row in sample(prepared, Sampling(mode="capped", per_class=50), seed=seed).to_pylist()
         if row["split"]}
        for seed in (1, 2)
    ]  # fmt: skip
    assert len(taken[0]) == len(taken[1]) == 50
    assert taken[0] != taken[1]


@pytest.mark.parametrize(
    "wrong", [{"mode": "capped"}, {"mode": "all", "per_class": 3}, {"mode": "capped", "per_class": 0}]
)
def test_a_quota_without_meaning_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="per_class"):
        Sampling.model_validate(wrong)
