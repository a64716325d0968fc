"""Volumes of ZeRO's stages, as its paper counts them."""

import pytest

from sap_llm.training.networks import Network
from sap_llm.training.scaling import Wires, sent_bytes, step_time

NETWORK = Network(name="n", parameters=10**9, trainable=10**9, largest_layer=10**6, stacks=(), logits=0)


@pytest.mark.parametrize(("stage", "times"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_without_accumulation_stages_send_twice_or_three_times_the_parameters(stage: int, times: int) -> None:
    sent = sent_bytes(NETWORK, stage=stage, ranks=16, accumulation=1)
    assert sent == pytest.approx(times * 2e9 * 15 / 16)


def test_accumulation_repeats_what_a_stage_does_for_every_piece() -> None:
    once, often = ([sent_bytes(NETWORK, stage=stage, ranks=4, accumulation=n) for stage in (1, 2, 3)] for n in (1, 8))
    assert often[0] == once[0]
    assert once[1] < often[1] < often[2] == pytest.approx(8 * once[2])


def test_one_gpu_sends_nothing_and_two_nodes_are_as_slow_as_their_network_cards() -> None:
    alone = step_time(
        NETWORK, stage=3, ranks=1, batch_tokens=10_000, piece_tokens=1000, tokens_per_second=1000, wires=Wires()
    )
    assert (alone.sent_bytes, alone.compute_seconds, alone.worst_efficiency) == (0, 10.0, 1.0)
    assert Wires(nics_per_node=1).bytes_per_second(16) == 50e9
    assert Wires().bytes_per_second(8) == 450e9
