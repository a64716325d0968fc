"""The effective batch on any number of ranks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.shares import share


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 64), (2, 32), (16, 4)])
def test_256_documents_are_256_on_any_number_of_ranks(ranks: int, accumulation: int) -> None:
    shares = share(256, ranks=ranks, micro_batch=4)
    assert (shares.accumulation, shares.pieces, shares.micro_batch) == (accumulation, 64, 4)


@given(a_rank=st.integers(1, 200), ranks=st.integers(1, 20), micro_batch=st.integers(0, 64), halvings=st.integers(0, 3))
def test_no_unit_is_lost_and_no_piece_is_too_large(a_rank: int, ranks: int, micro_batch: int, halvings: int) -> None:
    try:
        shares = share(a_rank * ranks, ranks=ranks, micro_batch=micro_batch, halvings=halvings)
    except ConfigurationError:
        assert halvings
        return
    assert sorted(piece for rank in range(ranks) for piece in shares.of_rank(rank)) == list(range(shares.pieces))
    assert not micro_batch or shares.micro_batch <= micro_batch
    if not halvings:
        assert shares.micro_batch * shares.pieces == a_rank * ranks


def test_halving_doubles_the_pieces_and_ends_at_one_unit() -> None:
    assert [share(16, ranks=2, halvings=count).micro_batch for count in range(4)] == [8, 4, 2, 1]
    with pytest.raises(ConfigurationError, match="cannot be halved 4 times"):
        share(16, ranks=2, halvings=4)


def test_a_batch_that_ranks_cannot_share_evenly_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="3 ranks evenly"):
        share(256, ranks=3)
