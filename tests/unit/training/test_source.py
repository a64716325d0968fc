"""Batches of a stream: the same however it is cut, other for every worker and rank."""

from itertools import islice
from typing import Any

import numpy as np
import pytest

from sap_llm.modeling.labels import default_labels
from sap_llm.training.batches import Batch
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.shares import share
from sap_llm.training.source import Place, StreamSource, _Pools

CONFIG = MultitaskModelConfig.model_validate(
    {
        "batch_words": 1500,
        "stream": {
            "workers": 2,
            "pool_worlds": 1,
            "repeats": 2,
            "facts": {"seed": 99, "chains_per_world": 3, "sales_per_world": 1, "lines_max": 8},
            "documents": {
                "seed": 99,
                "workers": 1,
                "test_layout_share": 0.0,
                "untitled_share": 0.1,
                "foreign_language_share": 0.1,
                "tier": "volume",
            },
        },
    }
)


def pools(place: Place, *, rank: int = 0, ranks: int = 1) -> _Pools:
    assert CONFIG.stream is not None
    return _Pools(
        CONFIG, CONFIG.stream, default_labels(), [0, 1], [place, place], share(1500 * ranks, ranks=ranks), rank=rank
    )


_COMPARED = ("characters", "boxes", "class_ids")


def print_of(batch: Batch) -> bytes:
    return b"".join(
        np.ascontiguousarray(getattr(batch, name)).tobytes() for name in ("characters", "boxes", "class_ids")
    )


def given(source: StreamSource, start: int, stop: int) -> list[bytes]:
    return [print_of(source.batch(step, 0)) for step in range(start, stop)]


def test_a_pool_is_used_as_often_as_configured_and_damaged_anew() -> None:
    once = [batch for _, batch in pools(Place(pool=0, index=0))._batches(0, start=0)]
    words = [int(batch.mask.sum()) for batch in once]
    assert sum(words) % 2 == 0, "every document twice"
    assert len({print_of(batch) for batch in once}) == len(once)
    again = [batch for _, batch in pools(Place(pool=0, index=0))._batches(0, start=2)]
    assert [print_of(batch) for batch in again] == [print_of(batch) for batch in once[2:]]


def test_ranks_make_other_worlds() -> None:
    first, second = (next(islice(pools(Place(pool=0, index=0), rank=rank, ranks=2)._batches(rank * 2, start=0), 1))
                     for rank in (0, 1))  # fmt: skip
    assert print_of(first[1]) != print_of(second[1])


def test_a_stream_goes_on_when_a_step_has_more_pieces_than_before() -> None:
    """As after a lack of memory: the checkpoint is of whole batches, the retry learns from halves."""
    assert CONFIG.stream is not None
    begun = {"given": 3, "accumulation": 1, "places": [Place(pool=1, index=2), Place(pool=0, index=5)]}
    halved = StreamSource(CONFIG, CONFIG.stream, default_labels(), share(1500, ranks=1, halvings=1), rank=0)
    halved.resume(begun)
    state = halved.state()
    assert state["given"] == 3 * 2, "the first piece of step 3"
    assert state["places"] == [{"pool": 1, "index": 4}, {"pool": 0, "index": 10}]
    whole = StreamSource(CONFIG, CONFIG.stream, default_labels(), share(1500, ranks=1), rank=0)
    whole.resume(state)
    assert whole.state() == begun


@pytest.mark.slow
@pytest.mark.parametrize("taken", [1, 4])
def test_a_resumed_stream_goes_on_with_the_very_next_batch(taken: int) -> None:
    assert CONFIG.stream is not None
    whole = StreamSource(CONFIG, CONFIG.stream, default_labels(), share(1500, ranks=1), rank=0)
    expected = given(whole, 0, 9)
    whole.close()
    begun = StreamSource(CONFIG, CONFIG.stream, default_labels(), share(1500, ranks=1), rank=0)
    start = given(begun, 0, taken)
    state: dict[str, Any] = begun.state()
    begun.close()
    resumed = StreamSource(CONFIG, CONFIG.stream, default_labels(), share(1500, ranks=1), rank=0)
    resumed.resume(state)
    rest = given(resumed, taken, 9)
    resumed.close()
    assert start + rest == expected
