"""From the picture of a page to its answer: the token format, learning on generated pages, and the model folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.modeling.backbones.answer_tokens import AnswerTokens, answer_of, default_keys
from sap_llm.modeling.backbones.donut import Donut
from sap_llm.modeling.backbones.shapes import DonutShape
from sap_llm.modeling.backbones.subwords import Subwords
from sap_llm.modeling.labels import HEADER_FIELDS, LINE_FIELDS

TOKENS = AnswerTokens(Subwords.open(None).tokenizer)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
ANSWERS = st.fixed_dictionaries(
    {"document_type": TEXT},
    optional={
        **dict.fromkeys(HEADER_FIELDS[:4], TEXT),
        "line_items": st.lists(
            st.dictionaries(st.sampled_from(LINE_FIELDS), TEXT, min_size=1, max_size=3), min_size=1, max_size=3
        ),
    },
)


@given(answer=ANSWERS)
def test_an_answer_survives_its_tokens(answer: dict[str, Any]) -> None:
    normal = TOKENS.tokenizer.normalizer.normalize_str
    expected = {
        key: [{name: normal(text) for name, text in item.items()} for item in value]
        if isinstance(value, list)
        else normal(value)
        for key, value in answer.items()
    }
    assert TOKENS.decode(TOKENS.encode(answer)) == expected


@given(answer=ANSWERS, share=st.floats(0, 1))
def test_an_answer_that_breaks_off_says_what_was_closed(answer: dict[str, Any], share: float) -> None:
    ids = TOKENS.encode(answer)
    found, whole = TOKENS.decode(ids[: int(len(ids) * share)]), TOKENS.decode(ids)
    assert all(whole[key] == value for key, value in found.items())


def test_a_value_that_looks_like_a_bracket_is_text() -> None:
    answer = {"seller_name": "</s_seller_name><sep/>"}
    assert TOKENS.decode(TOKENS.encode(answer)) == answer


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        TOKENS.encode({"colour": "red"})


def test_it_learns_the_answers_of_pages_and_its_folder_gives_the_same(generated: Any, tmp_path: Path) -> None:
    torch.manual_seed(5)
    donut = Donut(DonutShape(size="debug"))
    pictures, answers = generated.pictures[:4], [answer_of(truth) for truth in generated.truths[:4]]
    assert set(answers[0]) <= set(default_keys())
    optimizer = torch.optim.AdamW(donut.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = donut.loss(pictures, answers)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    donut.eval()
    donut.save(tmp_path)
    again = Donut.load(tmp_path)
    assert again.shape == donut.shape
    with torch.inference_mode():
        assert float(again.loss(pictures, answers)) == float(donut.loss(pictures, answers))
    assert again.generate(pictures[:1], most_tokens=8) == donut.generate(pictures[:1], most_tokens=8)


def test_pictures_of_any_size_become_the_networks() -> None:
    donut = Donut(DonutShape(size="debug"))
    white = donut.pixels(np.full((2, 300, 200), 255, dtype=np.uint8))
    assert white.shape == (2, 1, 192, 144)
    assert torch.allclose(white, torch.tensor(-0.5), atol=1e-5)
