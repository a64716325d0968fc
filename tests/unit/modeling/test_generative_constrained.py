"""Constrained decoding: whatever the model prefers, and however few tokens are allowed, an answer is of its schema."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.modeling.generative.answer_schema import KINDS, Kind, answer_schema, fits, header_fields
from sap_llm.modeling.generative.answers import parsed, value_confidences
from sap_llm.modeling.generative.constrained import (
    WIND_DOWN,
    ChosenChances,
    Grammars,
    SchemaProcessor,
    is_compliant,
)
from sap_llm.modeling.qwen import QwenShape, build_processor
from sap_llm.schema.taxonomy import load_taxonomy

VOCABULARY = 1024
TEXTS = [
    '{"document_type":"SUPPLIER_INVOICE","fields":{"total_amount":{"value":"12.00","page":1,"box":[1,2,3,4]}}}'
] * 3


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    shape = QwenShape(vocabulary=VOCABULARY)
    return Grammars(build_processor(TEXTS + ['Straße ☃ 漢字 \\ " {}'] * 2, shape).tokenizer, vocabulary=VOCABULARY)


def schema_of(kind: Kind) -> dict[str, Any]:
    return answer_schema(kind, pages=3, longest_side=1288, field="total_amount" if kind == "extract_field" else None)


def written(
    grammars: Grammars, schemas: list[dict[str, Any]], *, seed: int, most: int, warmth: float
) -> tuple[Any, Any]:
    """What a model writes that prefers tokens at random, as `generate` would make it write."""
    generator = torch.Generator().manual_seed(seed)
    bias = torch.randn(VOCABULARY, generator=generator) * warmth
    processor = SchemaProcessor(grammars, schemas, most_tokens=most)
    tokens = torch.zeros((len(schemas), 1), dtype=torch.long)
    is_done = torch.zeros(len(schemas), dtype=torch.bool)
    for _ in range(most):
        scores = torch.randn((len(schemas), VOCABULARY), generator=generator) + bias
        chosen = processor(tokens, scores).argmax(-1)
        chosen = torch.where(is_done, torch.zeros_like(chosen), chosen)  # as generate fills up rows that ended
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        is_done |= torch.isin(chosen, torch.tensor(grammars.ends))
        if bool(is_done.all()):
            break
    texts = []
    for row in tokens[:, 1:].tolist():
        end = next((place for place, token in enumerate(row) if token in grammars.ends), None)
        assert end is not None, "an answer has no end"
        texts.append(grammars.bytes_of(row[:end]).decode())
    return texts, processor


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(WIND_DOWN + 1, WIND_DOWN + 80), st.sampled_from([0.0, 1.0, 4.0]))
def test_every_answer_of_every_kind_is_of_its_schema_and_ends_in_time(
    grammars: Grammars, seed: int, most: int, warmth: float
) -> None:
    schemas = [schema_of(kind) for kind in KINDS]
    texts, _ = written(grammars, schemas, seed=seed, most=most, warmth=warmth)
    for text, schema in zip(texts, schemas, strict=True):
        assert is_compliant(parsed(text), schema), text


def test_an_answer_that_would_never_end_is_closed_and_says_so(grammars: Grammars) -> None:
    schema = schema_of("question")
    processor = SchemaProcessor(grammars, [schema], most_tokens=WIND_DOWN + 30)
    tokens = torch.zeros((1, 1), dtype=torch.long)
    letter = grammars.tokenizer.tokenize_str("x")[0]
    for _ in range(WIND_DOWN + 30):
        scores = torch.zeros((1, VOCABULARY))
        scores[0, letter] = 9.0
        scores[0, list(grammars.ends)] = -9.0
        tokens = torch.cat([tokens, processor(tokens, scores).argmax(-1)[:, None]], dim=1)
        if int(tokens[0, -1]) in grammars.ends:
            break
    text = grammars.bytes_of(tokens[0, 1:-1].tolist()).decode()
    assert processor.was_cut == [True]
    assert len(json.loads(text)["answer"]) >= 20


def test_too_few_tokens_for_any_answer_are_refused(grammars: Grammars) -> None:
    with pytest.raises(ValueError, match="more than"):
        SchemaProcessor(grammars, [schema_of("classify")], most_tokens=WIND_DOWN)


def test_a_class_has_only_its_own_subtypes() -> None:
    schema = schema_of("classify")
    assert is_compliant({"document_type": "PURCHASE_ORDER", "document_subtype": "RUSH"}, schema)
    assert is_compliant({"document_type": "SUPPLIER_INVOICE", "document_subtype": None}, schema)
    assert is_compliant({"document_type": "GOODS_RECEIPT", "document_subtype": None}, schema)
    assert not is_compliant({"document_type": "SUPPLIER_INVOICE", "document_subtype": "RUSH"}, schema)
    assert not is_compliant({"document_type": "GOODS_RECEIPT", "document_subtype": "STANDARD"}, schema)
    assert not is_compliant({"document_type": "PURCHASE_ORDER"}, schema)


def test_the_schema_knows_every_field_of_the_taxonomy_and_the_form_of_its_type() -> None:
    found = schema_of("extract")["$defs"]["fields"]["properties"]
    assert tuple(found) == header_fields()
    assert {field.name for field in load_taxonomy().fields if field.level == "header"} == set(found)
    place = {"page": 1, "box": [0, 0, 5, 5]}
    for value, is_right in (("12.50", True), ("-3.00", True), ("12", False), ("1,234.00", False), ("12.50 EUR", False)):
        answer = {"total_amount": {"value": value, **place}}
        assert is_compliant(answer, schema_of("extract_field")) is is_right is fits("total_amount", value)
    assert is_compliant({"total_amount": None}, schema_of("extract_field"))


def test_chances_are_those_of_the_tokens_chosen() -> None:
    chances = ChosenChances()
    scores = [torch.log(torch.tensor([[0.5, 0.25, 0.25]])), torch.log(torch.tensor([[0.1, 0.1, 0.8]]))]
    tokens = torch.tensor([[7]])
    chances(tokens, scores[0])
    tokens = torch.cat([tokens, torch.tensor([[1]])], dim=1)
    chances(tokens, scores[1])
    found = chances.log_chances(torch.tensor([[1, 2]])).exp()
    assert found.tolist()[0] == pytest.approx([0.25, 0.8])


def test_confidence_goes_to_the_value_that_the_tokens_wrote() -> None:
    pieces = [b'{"a":', b'"x', b'y"', b',"b":[', b"1", b",2]", b',"c":{"d":null}}']
    logs = torch.log(torch.tensor([1.0, 0.5, 0.125, 1.0, 0.3, 0.9, 0.7])).numpy()
    found = value_confidences(pieces, logs)
    assert found == {
        ("a",): pytest.approx(0.25),
        ("b", 0): pytest.approx(0.3),
        ("b", 1): pytest.approx(0.9),
        ("c", "d"): pytest.approx(0.7),
    }
    assert value_confidences([b'{"a":'], logs[:1]) == {}
