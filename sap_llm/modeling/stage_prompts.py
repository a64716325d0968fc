"""What the model is asked in each document stage, and the form of its answer.

Belongs here: the words that training and agents share, so that an adapter is asked what it was taught. Where the right
answers come from is `sap_llm.training.adapters.tasks`; names and order of the stages are `schema.document_stages`.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sap_llm.modeling.generative.prompts import plain
from sap_llm.schema.document_stages import document_stage
from sap_llm.schema.page import Page

Message = dict[str, Any]

ANSWERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "inbox": ("is_business", "queue", "priority"),
        "preprocessing": ("turn", "language", "quality", "needs_ocr"),
        "classification": ("document_type",),
        "type_identification": ("document_subtype",),
        "extraction": ("fields", "line_items"),
        "quality_check": ("wrong_fields", "missing_fields"),
        "validation": ("violations",),
        "routing": ("queue", "service", "entity_set", "items", "operation", "decision"),
    }
)
"""Document stage -> keys of its answer, in the order in which they are written."""


def ask(stage: str, given: Mapping[str, Any]) -> list[Message]:
    """The conversation up to the answer.

    Args:
        stage: Document stage.
        given: What it is shown, by name; texts as they are, everything else as JSON.
    """
    keys = ", ".join(ANSWERS[stage])
    shown = "\n".join(f"{name}: {_written(value)}" for name, value in given.items())
    return [{"role": "user", "content": f"{document_stage(stage).description}. JSON: {keys}.\n{shown}"}]


def written_answer(stage: str, values: Mapping[str, Any]) -> str:
    """The answer as the model has to write it: JSON on one line, keys in their order.

    Raises:
        ValueError: Other keys than those of the stage.
    """
    if set(values) != set(ANSWERS[stage]):
        raise ValueError(f"{stage} answers with {', '.join(ANSWERS[stage])}, not with {', '.join(values)}")
    return _written({key: values[key] for key in ANSWERS[stage]})


def reading(page: Page, *, words: int) -> str:
    """The first so many words of a page, one visual line a row."""
    return "\n".join(text for _, text in _lines(page, words))


def placed_reading(page: Page, *, words: int) -> str:
    """Like `reading`, each row behind the place of its first word in thousandths of the page's width and height."""
    rows = []
    for first, text in _lines(page, words):
        left, top = page.boxes[first, :2].tolist()
        rows.append(f"{round(1000 * left / page.width)} {round(1000 * top / page.height)} {text}")
    return "\n".join(rows)


def _lines(page: Page, words: int) -> list[tuple[int, str]]:
    """Index of the first word and text of each visual line, of the first so many words."""
    rows: dict[int, tuple[int, list[str]]] = {}
    for index, (word, line) in enumerate(zip(page.words[:words], page.lines[:words].tolist(), strict=True)):
        rows.setdefault(line, (index, []))[1].append(word)
    return [(first, " ".join(texts)) for first, texts in rows.values()]


def _written(value: Any) -> str:
    """Without what the tokenizer would take for a mark of its own: a document may not end its own question."""
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")))
