"""Donut's answer format: a JSON object as a sequence of tokens, and back.

Belongs here: the grammar. `{"currency": "EUR"}` is <s_currency> E U R </s_currency>; entries of a list stand apart by
<sep/>. Brackets are tokens of their own, beyond those of the text, so no value can be taken for one. The network is
`donut`.

Source: Kim et al. 2022, arXiv:2111.15664.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer

from sap_llm.modeling.labels import default_labels

LINE_ITEMS = "line_items"
_LISTS = frozenset({LINE_ITEMS})  # a list of one entry is written like the entry itself: the key tells


def default_keys() -> tuple[str, ...]:
    """Class, subtype and line items, then all fields that the label lists know."""
    labels = default_labels()
    return ("document_type", "document_subtype", LINE_ITEMS, *labels.header_fields, *labels.line_fields)


class AnswerTokens:
    """Answers with the given keys, values as texts, and line items as a list of such objects.

    Ids below the tokenizer's vocabulary are text; then come start, end, padding, <sep/>, and two for each key.
    """

    def __init__(self, tokenizer: Tokenizer, *, keys: Sequence[str] = ()) -> None:
        self.tokenizer, self.keys = tokenizer, tuple(keys) or default_keys()
        self._text = tokenizer.get_vocab_size()
        self.start, self.end, self.padding, self.separator = range(self._text, self._text + 4)
        self._first_key = self._text + 4
        self.size = self._first_key + 2 * len(self.keys)

    def encode(self, answer: Mapping[str, Any]) -> list[int]:
        """Token ids of an object, without start and end; keys in their order.

        Raises:
            KeyError: The format does not know a key.
        """
        if unknown := sorted(set(answer) - set(self.keys)):
            raise KeyError(", ".join(unknown))
        ids: list[int] = []
        for place, key in enumerate(self.keys):
            if key in answer:
                opening = self._first_key + 2 * place
                ids += [opening, *self._value(answer[key]), opening + 1]
        return ids

    def _value(self, value: Any) -> list[int]:
        if isinstance(value, Mapping):
            return self.encode(value)
        if isinstance(value, str):
            return list(self.tokenizer.encode(value, add_special_tokens=False).ids)
        ids: list[int] = []
        for number, entry in enumerate(value):
            ids += [self.separator] * (number > 0) + self._value(entry)
        return ids

    def decode(self, ids: Sequence[int]) -> dict[str, Any]:
        """The object that a sequence says; of a sequence that breaks off, what was closed before."""
        frames = [_Frame()]
        for number in ids:
            if number in (self.end, self.padding):
                break
            if number < self._text:
                frames[-1].text.append(number)
            elif number == self.separator:
                frames[-1].next()
            elif number >= self._first_key:
                place, is_closing = divmod(number - self._first_key, 2)
                if not is_closing:
                    frames.append(_Frame(key=self.keys[place]))
                elif frames[-1].key == self.keys[place]:
                    closed = frames.pop()
                    frames[-1].values[closed.key] = self._read(closed)
        return frames[0].values

    def _read(self, frame: "_Frame") -> Any:
        frame.next()
        entries = [values or self.tokenizer.decode(text) for values, text in frame.entries]
        if frame.key in _LISTS:
            return [entry for entry in entries if isinstance(entry, dict)]
        return entries[0] if len(entries) == 1 else entries


@dataclass
class _Frame:
    """What stands between the brackets of a key so far."""

    key: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    text: list[int] = field(default_factory=list)
    entries: list[tuple[dict[str, Any], list[int]]] = field(default_factory=list)

    def next(self) -> None:
        """Close an entry of a list."""
        self.entries.append((self.values, self.text))
        self.values, self.text = {}, []


def answer_of(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """The answer that a truth (a row of `tables.ANNOTATIONS`) means: of each header field the first value."""
    labels = default_labels()
    answer: dict[str, Any] = {"document_type": annotation["document_type"]}
    if annotation["document_subtype"]:
        answer["document_subtype"] = annotation["document_subtype"]
    for entry in annotation["fields"]:
        if entry["field"] in labels.header_fields:
            answer.setdefault(entry["field"], entry["value"])
    items = [
        {entry["field"]: entry["value"] for entry in item["fields"] if entry["field"] in labels.line_fields}
        for item in annotation["line_items"]
    ]
    return answer | ({LINE_ITEMS: items} if items else {})
