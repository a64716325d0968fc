"""Decoding that can only write JSON of a schema, and the chances of the tokens that were chosen.

Belongs here: the two processors of logits that `generate` of transformers is given. Grammars are llguidance's
(https://github.com/guidance-ai/llguidance); the schemas are `answer_schema`'s.

An answer that comes near the most tokens allowed is wound down: its open strings, lists and objects are closed as soon
as the grammar lets them be. So it is complete and of the schema, however little sense the model made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import llguidance
import llguidance.hf
import llguidance.numpy
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LogitsProcessor

from sap_llm.modeling.generative.answer_schema import Schema

WIND_DOWN = 192
"""Tokens before the end at which an answer begins to be closed; every schema can be closed in as many single bytes."""

_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_CLOSERS = ("}", "]")


class Grammars:
    """A tokenizer as llguidance sees it, and compiled grammars by schema."""

    def __init__(self, tokenizer: Any, *, vocabulary: int) -> None:
        """Take a fast tokenizer of transformers; `vocabulary` is the width of the model's logits."""
        self.tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary)
        self.vocabulary = vocabulary
        self.ends: tuple[int, ...] = tuple(self.tokenizer.eos_tokens)
        self.quote, *self.closers = (tokenizer.convert_tokens_to_ids(mark) for mark in ('"', *_CLOSERS))
        self.executor = llguidance.LLExecutor()
        self._compiled: dict[str, llguidance.LLMatcher] = {}

    def matcher(self, schema: Schema) -> llguidance.LLMatcher:
        """A fresh matcher of a schema.

        Raises:
            ValueError: llguidance cannot compile it.
        """
        grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})
        if grammar not in self._compiled:
            compiled = llguidance.LLMatcher(self.tokenizer, grammar)
            if compiled.is_error():
                raise ValueError(f"the schema cannot be compiled: {compiled.get_error()}")
            self._compiled[grammar] = compiled
        return self._compiled[grammar].deep_copy()

    def bytes_of(self, tokens: Sequence[int]) -> bytes:
        """What tokens write."""
        return bytes(self.tokenizer.decode_bytes(list(tokens)))


class SchemaProcessor(LogitsProcessor):
    """Forbids every token that its row's schema does not allow next. For one call of `generate`."""

    def __init__(self, grammars: Grammars, schemas: Sequence[Schema], *, most_tokens: int) -> None:
        """One schema a row; `most_tokens` is the `max_new_tokens` of the call, more than `WIND_DOWN`."""
        if most_tokens <= WIND_DOWN:
            raise ValueError(f"an answer needs more than {WIND_DOWN} tokens, {most_tokens} are allowed")
        self._grammars = grammars
        self._matchers = [grammars.matcher(schema) for schema in schemas]
        self._masks = llguidance.numpy.allocate_token_bitmask(len(schemas), grammars.vocabulary)
        self._most, self._steps = most_tokens, 0
        self._strings = [_StringState() for _ in schemas]
        self.was_cut = [False] * len(schemas)  # rows that were wound down before they ended by themselves

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Mask `scores` [rows, vocabulary]; the last token of `input_ids` is what was chosen after the call before."""
        if self._steps:
            self._consume(input_ids[:, -1].tolist())
        live = [row for row, matcher in enumerate(self._matchers) if not matcher.is_stopped()]
        self._masks[:] = self._only(self._grammars.ends[0])  # after a complete answer
        if live:
            llguidance.numpy.fill_next_token_bitmask_par(
                self._grammars.executor, [(self._matchers[row], row) for row in live], self._masks
            )
        if self._steps >= self._most - WIND_DOWN:
            for row in live:
                self._wind_down(row)
        self._steps += 1
        bits = np.unpackbits(self._masks.view(np.uint8), axis=1, count=scores.shape[1], bitorder="little")
        return scores.masked_fill(torch.from_numpy(bits).to(scores.device) == 0, -torch.inf)

    def _consume(self, tokens: Sequence[int]) -> None:
        for row, token in enumerate(tokens):
            matcher = self._matchers[row]
            if matcher.is_stopped():
                continue
            if not matcher.consume_token(token):
                raise RuntimeError(f"token {token} was chosen against the mask: {matcher.get_error()}")
            if token not in self._grammars.ends:
                self._strings[row].read(self._grammars.bytes_of([token]))

    def _wind_down(self, row: int) -> None:
        """Leave the row's mask only what closes, where something does."""
        grammars, mask = self._grammars, self._masks[row]
        closers = (grammars.quote,) if self._strings[row].is_inside else (*grammars.ends, *grammars.closers)
        found = next((token for token in closers if mask[token // 32] >> (token % 32) & 1), None)
        self.was_cut[row] |= found not in grammars.ends
        if found is not None:
            mask[:] = self._only(found)

    def _only(self, token: int) -> npt.NDArray[np.int32]:
        """The mask that allows one token."""
        mask = np.zeros(self._masks.shape[1], dtype=np.uint32)
        mask[token // 32] = 1 << (token % 32)
        return mask.view(np.int32)


class _StringState:
    """Whether JSON text read so far ends inside a string."""

    def __init__(self) -> None:
        self.is_inside = self._is_escaped = False

    def read(self, text: bytes) -> None:
        """Go on."""
        for byte in text:
            if self._is_escaped:
                self._is_escaped = False
            elif self.is_inside and byte == _BACKSLASH:
                self._is_escaped = True
            elif byte == _QUOTE:
                self.is_inside = not self.is_inside


class ChosenChances(LogitsProcessor):
    """Remembers how likely every chosen token was among those allowed; the last of the processors."""

    def __init__(self) -> None:
        self._before: Tensor | None = None
        self._chosen: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Look at what was chosen since the last call; `scores` are left as they are."""
        if self._before is not None:
            self._chosen.append(self._before.gather(1, input_ids[:, -1:])[:, 0])
        self._before = scores.float().log_softmax(-1)
        return scores

    def log_chances(self, tokens: Tensor) -> Tensor:
        """Natural logarithms, float32 [rows, tokens], of the tokens [rows, tokens] that the call wrote."""
        rows = [*self._chosen]
        if self._before is not None and len(rows) < tokens.shape[1]:
            rows.append(self._before.gather(1, tokens[:, len(rows) : len(rows) + 1])[:, 0])
        return torch.stack(rows, dim=1).cpu()


def is_compliant(answer: Mapping[str, Any] | None, schema: Schema) -> bool:
    """Whether an answer is of the schema, by another implementation than the one that constrains."""
    import jsonschema

    return answer is not None and bool(jsonschema.Draft202012Validator(schema).is_valid(answer))
