"""Greedy generation of Qwen2.5-VL for many documents at once: the tokens of `generate` of transformers, sooner.

Belongs here: prompts packed without padding through both towers, a cache of keys and values allocated once, and the
step of one token for all rows as a CUDA graph. The functions of a layer are `fast_layers`; what the tokens mean is
`predictor`. Needs torch and transformers only, so that a bare GPU machine can import it.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from sap_llm.modeling import packed_attention
from sap_llm.modeling.generative.fast_layers import (
    Layer,
    Shape,
    after_attention,
    before_attention,
    joined,
    layers_of,
    multiply,
    normed,
)

_LOOK = 16  # steps between two looks at whether all rows have ended; a look waits for the device
_BACKENDS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]  # those that take a mask and a graph can hold
_Processor = Callable[[Tensor, Tensor], Tensor]
_Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class FastOptions:
    """How to compute; none of it changes the tokens, up to rounding, but FP8.

    Attributes:
        graph: Replay the step as a CUDA graph; without a GPU it runs as it is.
        compiled: Fuse the elementwise parts of a layer with torch.compile; compiles for every new shape.
        fp8: Round the products' weights and inputs to FP8 (e4m3), with a scale for every row; needs bf16 and a GPU.
        attention: The step's attention: torch's fused one, or two plain batched products.
        bucket: Attention reads the cache up to the next multiple of this; every multiple is a graph of its own.
        prefill_tokens: Prompts of about so many tokens go through the towers together.
    """

    graph: bool = True
    compiled: bool = False
    fp8: bool = False
    attention: str = "fused"
    bucket: int = 128
    prefill_tokens: int = 32_768


@dataclass(kw_only=True)
class _State:
    """What a step reads and writes, at addresses that stay: a graph remembers them."""

    keys: Tensor  # [layers, rows, key heads, room, width]
    values: Tensor
    token: Tensor  # [rows], the last chosen
    filled: Tensor  # [rows], tokens in the cache
    position: Tensor  # [rows], rotary position of the next
    logits: Tensor  # [rows, vocabulary]
    graphs: dict[int, Any]

    @property
    def room(self) -> int:
        """Tokens of a row."""
        return int(self.keys.shape[3])

    @property
    def rows(self) -> int:
        """Documents."""
        return int(self.keys.shape[1])


class FastGenerator:
    """Generates with the weights of a `Qwen2_5_VLForConditionalGeneration`, which stays usable; not thread-safe."""

    def __init__(self, model: Any, options: FastOptions | None = None) -> None:
        """Join weights.

        Raises:
            ValueError: The model has sliding windows, adapters or another activation, or FP8 is not possible here.
        """
        self.options = options or FastOptions()
        text = model.model.language_model
        config = text.config
        if getattr(text, "has_sliding_layers", False) or config.hidden_act != "silu":
            raise ValueError("layers with sliding windows, or with another activation than silu, are not known here")
        if self.options.fp8 and (model.device.type != "cuda" or model.dtype != torch.bfloat16):
            raise ValueError("FP8 needs a model in bf16 on a GPU")
        self.model, self._text = model, text
        heads = config.num_attention_heads
        width = config.hidden_size // heads
        self._shape = Shape(heads, config.num_key_value_heads, width, config.rms_norm_eps)
        self._layers: list[Layer] = layers_of(text, fp8=self.options.fp8)
        self._head = joined([model.lm_head], fp8=self.options.fp8)
        self._before, self._after = before_attention, after_attention
        if self.options.compiled:
            self._before = torch.compile(before_attention, dynamic=False)
            self._after = torch.compile(after_attention, dynamic=False)
        self._state: _State | None = None
        packed_attention.register()

    @torch.no_grad()
    def generate(
        self,
        inputs: Mapping[str, Tensor],
        *,
        most_tokens: int,
        ends: Sequence[int] = (),
        filler: int = 0,
        processors: Sequence[_Processor] = (),
    ) -> Tensor:
        """Continue every row by the most likely token.

        Args:
            inputs: What the processor of transformers gives: input_ids and attention_mask [rows, tokens], padded on
                any side; mm_token_type_ids, pixel_values and image_grid_thw where there are images.
            most_tokens: Limit of what is written, a row.
            ends: Tokens that end a row. Without any, all rows write `most_tokens`.
            filler: Written after a row's end.
            processors: Logits processors of transformers: (all tokens so far, scores) -> scores; on the host or not.

        Returns:
            int64 [rows, at most most_tokens], up to where the last row ended.
        """
        ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        (rows, padded), longest = ids.shape, int(mask.sum(1).max())
        state = self._room(rows, longest + most_tokens)
        self._prefill(inputs, state)
        whole = torch.cat([ids, ids.new_full((rows, most_tokens), filler)], dim=1)
        ended, endings = ids.new_zeros(rows, dtype=torch.bool), ids.new_tensor(list(ends))
        written, look = 0, 1 if processors else _LOOK
        while written < most_tokens:
            if written:
                self._step(state, longest + written)
            scores = state.logits.float()
            for process in processors:
                scores = process(whole[:, : padded + written], scores)
            token = scores.argmax(-1).masked_fill(ended, filler)
            whole[:, padded + written] = token
            state.token.copy_(token)
            written += 1
            if ends:
                ended |= torch.isin(token, endings)
                if written % look == 0 and bool(ended.all()):
                    break
        return _up_to_the_last_end(whole[:, padded : padded + written], endings)

    def _room(self, rows: int, tokens: int) -> _State:
        """The state of the last call where it suffices, so that its graphs serve again; else a new one."""
        bucket = self.options.bucket
        room = -(-tokens // bucket) * bucket
        if self._state is None or self._state.rows != rows or self._state.room < room:
            self._state = None  # first give back what it held
            like = self._text.embed_tokens.weight
            size = (len(self._layers), rows, self._shape.key_heads, room, self._shape.width)
            whole = torch.zeros(3, rows, dtype=torch.int64, device=like.device)
            self._state = _State(
                keys=like.new_zeros(size),
                values=like.new_zeros(size),
                token=whole[0],
                filled=whole[1],
                position=whole[2],
                logits=like.new_zeros(rows, self._head.weight.shape[0]),
                graphs={},
            )
        return self._state

    def _through(self, rows: Tensor, positions: Tensor, attend: _Attend) -> Tensor:
        """All layers over rows [n, width] at rotary positions [3, n]; not yet normed."""
        cos, sin = (one[0] for one in self._text.rotary_emb(rows, positions.unsqueeze(1)))
        for number, layer in enumerate(self._layers):
            query, key, value = self._before(rows, layer, cos, sin, self._shape)
            rows = self._after(rows, attend(number, query, key, value).flatten(1), layer, self._shape)
        return rows

    def _scores(self, rows: Tensor) -> Tensor:
        return multiply(normed(rows, self._text.norm.weight, self._shape.epsilon), self._head)

    def _prefill(self, inputs: Mapping[str, Tensor], state: _State) -> None:
        """Prompts into the cache, and the logits of the first token to write."""
        mask = inputs["attention_mask"].bool()
        lengths = mask.sum(1)
        tokens = inputs["input_ids"][mask]  # of all rows, one behind the other
        positions = self._positions(inputs, mask)
        embedded = self._text.embed_tokens(tokens)
        if inputs.get("pixel_values") is not None:
            shown = tokens == self.model.config.image_token_id
            embedded[shown] = self._pictures(inputs["pixel_values"], inputs["image_grid_thw"]).to(embedded.dtype)
        row = torch.repeat_interleave(torch.arange(state.rows, device=tokens.device), lengths)
        starts = lengths.cumsum(0) - lengths
        place = torch.arange(len(tokens), device=tokens.device) - starts[row]
        state.filled.copy_(lengths)
        state.position.copy_(positions.new_zeros(state.rows).scatter_reduce_(0, row, positions.amax(0), "amax") + 1)
        counts = lengths.tolist()
        first = 0
        for start, stop in _groups(counts, self.options.prefill_tokens):
            part = slice(first, first + sum(counts[start:stop]))
            first = part.stop
            bounds = torch.tensor([0, *counts[start:stop]], device=tokens.device).cumsum(0)
            attend = self._attend_packed(state, row[part], place[part], bounds, max(counts[start:stop]))
            hidden = self._through(embedded[part], positions[:, part], attend)
            state.logits[start:stop] = self._scores(hidden[bounds[1:] - 1])

    def _attend_packed(self, state: _State, row: Tensor, place: Tensor, bounds: Tensor, longest: int) -> _Attend:
        narrow = bounds.to(torch.int32)

        def attend(number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            state.keys[number][row, :, place] = key
            state.values[number][row, :, place] = value
            query, key, value = (one.transpose(0, 1).unsqueeze(0) for one in (query, key, value))
            out, _ = packed_attention.attention(
                self.model,
                query,
                key,
                value,
                None,
                scaling=self._shape.width**-0.5,
                is_causal=True,
                document_bounds=narrow,
                longest_document=longest,
            )
            return out[0]

        return attend

    def _positions(self, inputs: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Rotary positions [3, tokens] of the packed prompts, by transformers itself."""
        count = self.model.model.get_rope_index
        grids = inputs.get("image_grid_thw")
        if grids is None:
            return (mask.cumsum(1) - 1)[mask].expand(3, -1)
        known = {
            "input_ids": inputs["input_ids"].cpu(),
            "image_grid_thw": grids.cpu(),
            "attention_mask": inputs["attention_mask"].cpu(),
            "mm_token_type_ids": inputs["mm_token_type_ids"].cpu(),
        }
        takes = inspect.signature(count).parameters
        positions, _ = count(**{name: value for name, value in known.items() if name in takes})
        found: Tensor = positions.to(mask.device)[:, mask]
        return found

    def _pictures(self, pixels: Tensor, grids: Tensor) -> Tensor:
        """Features of all pictures [tokens, width]; many pictures a call, attention within windows by their bounds."""
        visual = self.model.model.visual
        counts = grids.prod(-1).tolist()
        merged = visual.spatial_merge_size**2
        found, first = [], 0
        with _attention_by_bounds(visual):
            for start, stop in _groups(counts, self.options.prefill_tokens * merged):
                part = pixels[first : first + sum(counts[start:stop])]
                first += len(part)
                found.append(visual(part.to(visual.dtype), grid_thw=grids[start:stop]).pooler_output)
        return torch.cat(found)

    def _step(self, state: _State, tokens: int) -> None:
        """The logits after `state.token`; `tokens` is an upper bound of what any row then has in the cache."""
        read = min(-(-tokens // self.options.bucket) * self.options.bucket, state.room)
        if not self.options.graph or state.token.device.type != "cuda":
            self._compute_step(state, read)
            return
        if read not in state.graphs:
            state.graphs[read] = self._captured(state, read)
        state.graphs[read].replay()

    def _captured(self, state: _State, read: int) -> Any:
        before = state.filled.clone(), state.position.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # compiles, and lets libraries allocate what a graph must not
                self._compute_step(state, read)
                state.filled.copy_(before[0])
                state.position.copy_(before[1])
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute_step(state, read)
        return graph

    def _compute_step(self, state: _State, read: int) -> None:
        places = torch.arange(read, device=state.token.device)
        unseen = places > state.filled[:, None]  # the new token's own place is seen
        mask = torch.zeros(unseen.shape, dtype=state.keys.dtype, device=unseen.device).masked_fill(unseen, -torch.inf)
        every = torch.arange(state.rows, device=state.token.device)
        fused = self.options.attention == "fused"

        def attend(number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = state.keys[number], state.values[number]
            keys[every, :, state.filled] = key
            values[every, :, state.filled] = value
            return (attend_fused if fused else attend_products)(query, keys[:, :, :read], values[:, :, :read], mask)

        hidden = self._through(self._text.embed_tokens(state.token), state.position.expand(3, -1), attend)
        state.logits.copy_(self._scores(hidden))
        state.filled += 1
        state.position += 1


def attend_fused(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """One query a row [rows, heads, width] over a cache [rows, key heads, tokens, width]; mask [rows, tokens] is added.

    The heads that share keys are given as if they were as many queries of one head, so keys are read once and not
    repeated.
    """
    rows, key_heads, _, width = keys.shape
    shared = query.view(rows, key_heads, -1, width)
    wide = mask[:, None, None, :].expand(rows, key_heads, shared.shape[2], -1)
    with sdpa_kernel(_BACKENDS):
        return scaled_dot_product_attention(shared, keys, values, attn_mask=wide).reshape(query.shape)


def attend_products(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """The same as `attend_fused` by two batched products, scores rounded between them."""
    rows, key_heads, _, width = keys.shape
    shared = query.view(rows, key_heads, -1, width) * width**-0.5
    scores = shared @ keys.transpose(2, 3) + mask[:, None, None, :]
    return (scores.float().softmax(-1).to(values.dtype) @ values).reshape(query.shape)


def _groups(counts: Sequence[int], budget: int) -> Iterator[tuple[int, int]]:
    """Neighbours whose counts fit the budget together, as (first, behind the last); a larger one stands alone."""
    start = total = 0
    for place, count in enumerate(counts):
        if place > start and total + count > budget:
            yield start, place
            start, total = place, 0
        total += count
    if counts:
        yield start, len(counts)


def _up_to_the_last_end(written: Tensor, endings: Tensor) -> Tensor:
    """Without what was filled in after all rows had ended."""
    if not len(endings) or not written.shape[1]:
        return written
    hit = torch.isin(written, endings)
    first = torch.where(hit.any(1), hit.int().argmax(1), written.shape[1] - 1)
    return written[:, : int(first.max()) + 1]


@contextmanager
def _attention_by_bounds(visual: Any) -> Iterator[None]:
    """Let the vision tower attend within pictures and windows by their bounds, instead of one after the other."""
    config, before = visual.config, visual.config._attn_implementation  # noqa: SLF001 - the public way sets all towers
    config._attn_implementation = packed_attention.IMPLEMENTATION  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = before  # noqa: SLF001
