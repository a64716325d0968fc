"""The split rule follows groups and roles, and `leaks` finds every way to break it."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sap_llm.preparation.splits import SPLITS, SplitShares, group_position, leaks, split_of

SHARES = SplitShares(train=0.7, validation=0.15, test=0.15)


@given(st.text(), st.integers(), st.sampled_from(["train", "develop", "test_only"]), st.booleans())
def test_what_may_only_test_is_never_learned_from(group: str, seed: int, role: str, is_test_layout: bool) -> None:
    split = split_of(group, role=role, is_test_layout=is_test_layout, seed=seed, shares=SHARES)
    assert split in SPLITS
    if role == "test_only" or is_test_layout:
        assert split == "test"
    elif role == "develop":
        assert split == "validation"


def test_groups_are_shared_out_as_asked() -> None:
    splits = [split_of(f"w{n}", role="train", is_test_layout=False, seed=7, shares=SHARES) for n in range(4000)]
    shares = {name: splits.count(name) / len(splits) for name in SPLITS}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.02)


def test_another_seed_shares_out_otherwise() -> None:
    assert [group_position(f"w{n}", 1) for n in range(5)] != [group_position(f"w{n}", 2) for n in range(5)]


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match="sum to 1"):
        SplitShares(train=0.7, validation=0.2, test=0.2)


def _rows(*changes: dict[str, object]) -> pa.Table:
    rows = [
        {
            "document_id": f"doc-{number}",
            "split": "train",
            "split_group": f"g{number}",
            "sha256": f"file{number}",
            "text_sha256": f"text{number}",
            "layout": f"layout{number}",
            "role": "train",
            "is_test_layout": False,
        }
        | change
        for number, change in enumerate(changes)
    ]
    return pa.Table.from_pylist(rows)


def test_disjoint_splits_have_no_leaks() -> None:
    assert leaks(_rows({}, {"split": "validation"}, {"split": "test", "is_test_layout": True})) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (({"split_group": "g"}, {"split_group": "g", "split": "test"}), "group g is in test and train"),
        (({"sha256": "f"}, {"sha256": "f", "split": "validation"}), "file f is in train and validation"),
        (({"text_sha256": "t"}, {"text_sha256": "t", "split": "test"}), "text t is in test and train"),
        (({"role": "test_only"},), "doc-0 may only test, but is in train"),
        (({"role": "develop"},), "doc-0 is for development, but is in train"),
        (({"is_test_layout": True},), "doc-0 has test layout layout0, but is in train"),
        (({"split": "tset"},), "doc-0 has no known split (tset)"),
        (
            ({"layout": "L"}, {"layout": "L", "split": "test", "is_test_layout": True}),
            "doc-0 has test layout L, but is in train",
        ),
    ],
)
def test_every_leak_is_named(changes: tuple[dict[str, object], ...], what: str) -> None:
    assert what in leaks(_rows(*changes))


def test_many_leaks_of_a_kind_are_summed_up() -> None:
    pairs: list[dict[str, object]] = [
        {"split_group": f"g{n // 2}", "split": "train" if n % 2 else "test"} for n in range(40)
    ]
    found = leaks(_rows(*pairs))
    assert found[-1] == "... 20 groups in several splits"
    assert len(found) == 6
