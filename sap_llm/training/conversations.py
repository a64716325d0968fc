"""Instruction pairs as a model reads them: pages and pictures from the dataset, tokens, and what is learned from.

Belongs here: reading `instruction_pairs` and encoding pairs one behind the other, without padding (`packing`). Making
the dataset is `instructions`; the loop that learns from it is `instruct`.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from sap_llm.modeling.generative.instructions import Instruction
from sap_llm.modeling.generative.predictor import GenerativeSettings, Request, prompt_of
from sap_llm.modeling.generative.prompts import plain
from sap_llm.modeling.qwen import END
from sap_llm.schema.manifest import Manifest
from sap_llm.schema.page import Page
from sap_llm.storage.store import MANIFEST
from sap_llm.training.instructions import InstructionPairsConfig
from sap_llm.training.packing import IGNORED, Pack, Sequenced, build, image_positions

Row = Mapping[str, Any]
_GROUPS_IN_MEMORY = 8  # of 8 MiB of pictures each


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Pairs one behind the other.

    Attributes:
        pack: Tokens, positions, bounds, and as labels the next token of every answer.
        pictures: `pixel_values` and `image_grid_thw` of all pages shown, in order.
        too_long: Pairs that were left out because they have too many tokens.
    """

    pack: Pack
    pictures: Mapping[str, Tensor]
    too_long: int

    def inputs(self, device: "torch.device | str") -> dict[str, Any]:
        """What the model is called with, under `packed_attention`."""
        inputs = {
            "input_ids": torch.from_numpy(self.pack.tokens).unsqueeze(0),
            "position_ids": torch.from_numpy(self.pack.positions).unsqueeze(1),
            "document_bounds": torch.from_numpy(self.pack.bounds),
            **self.pictures,
        }
        return {name: value.to(device) for name, value in inputs.items()} | {"longest_document": self.pack.longest}

    def labels(self, device: "torch.device | str") -> Tensor:
        """int64 [tokens], the next token where it is an answer's, else IGNORED."""
        return torch.from_numpy(self.pack.labels).to(device)


class ShownPages:
    """The table `pages` of `instruction_pairs`, a few row groups at a time in memory."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._groups: dict[str, list[int]] = {}
        for number in range(self._file.num_row_groups):
            ids = self._file.read_row_group(number, columns=["document_id"]).column(0).unique()
            for document_id in ids.to_pylist():
                self._groups.setdefault(document_id, []).append(number)
        self._rows = lru_cache(maxsize=_GROUPS_IN_MEMORY)(self._read)

    def of(self, document_id: str) -> tuple[list[Page], list[Image.Image]]:
        """Pages of a document in order, and their pictures."""
        rows = [row for number in self._groups[document_id] for row in self._rows(number).get(document_id, ())]
        rows.sort(key=lambda row: int(row["page_number"]))
        return [Page.from_row(row) for row in rows], [_picture(row["content"]) for row in rows]

    def _read(self, number: int) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self._file.read_row_group(number).to_pylist():
            found.setdefault(row["document_id"], []).append(row)
        return found


class Conversations:
    """Pairs of one split, encoded on demand."""

    def __init__(
        self, folder: Path, processor: Any, settings: GenerativeSettings, *, split: str, most_tokens: int
    ) -> None:
        """Open the dataset.

        Args:
            folder: Of `instruction_pairs`.
            processor: Of the model.
            settings: Of the model, see `settings_of`.
            split: Whose pairs.
            most_tokens: A longer pair is left out of its batch.
        """
        self.settings, self._folder, self._processor = settings, folder, processor
        self._most_tokens = most_tokens
        self.pages = ShownPages(folder / "pages.parquet")
        table = pq.read_table(folder / "pairs.parquet", filters=[("split", "=", split)])
        self.rows: list[Row] = sorted(table.to_pylist(), key=lambda row: str(row["pair_id"]))
        answers = [self._answer(row) for row in self.rows]
        encoded = processor.tokenizer(answers, add_special_tokens=False).input_ids if answers else []
        self.answer_lengths: npt.NDArray[np.int64] = np.array([len(ids) for ids in encoded], dtype=np.int64)

    def __len__(self) -> int:
        """Pairs."""
        return len(self.rows)

    def table(self, name: str) -> pa.Table:
        """Another table of the dataset, whole."""
        return pq.read_table(self._folder / f"{name}.parquet")

    def request(self, row: Row) -> Request:
        """The question of a pair as the predictor asks it."""
        pages, pictures = self.pages.of(row["document_id"])
        instruction = Instruction(kind=row["kind"], text=row["instruction"], field=row["field"])
        return Request(pages=pages, pictures=pictures, instruction=instruction)

    def encode(self, places: Sequence[int]) -> Encoded | None:
        """The pairs at these places as one batch; None where all of them are too long."""
        parts = [self._one(self.rows[place]) for place in places]
        kept = [(one, pictures) for one, pictures in parts if len(one) <= self._most_tokens]
        if not kept:
            return None
        total = sum(len(one) for one, _ in kept)
        pack = build([one for one, _ in kept], total, filler=self._processor.tokenizer.pad_token_id)
        names = ("pixel_values", "image_grid_thw")
        pictures = {name: torch.cat([part[name] for _, part in kept]) for name in names}
        return Encoded(pack=pack, pictures=pictures, too_long=len(parts) - len(kept))

    def _one(self, row: Row) -> tuple[Sequenced, Mapping[str, Tensor]]:
        request = self.request(row)
        prompt = self._processor(
            text=[prompt_of(self._processor, request, self.settings.prompt)],
            images=list(request.pictures),
            return_tensors="pt",
        )
        asked = prompt["input_ids"][0].numpy()
        answer = np.array(self._processor.tokenizer(self._answer(row), add_special_tokens=False).input_ids)
        tokens = np.concatenate([asked, answer])
        positions = image_positions(
            tokens,
            [tuple(grid) for grid in prompt["image_grid_thw"].tolist()],
            image_token=self._processor.image_token_id,
            merge=self._processor.image_processor.merge_size,
        )
        labels = np.concatenate([np.full_like(asked, IGNORED), answer])
        return Sequenced(tokens=tokens, positions=positions, labels=labels), prompt

    @staticmethod
    def _answer(row: Row) -> str:
        return plain(row["answer"]) + END


def settings_of(folder: Path) -> GenerativeSettings:
    """How a model is to be asked that learns from this version of `instruction_pairs`."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    config = InstructionPairsConfig.model_validate(manifest.configuration)
    return GenerativeSettings(shape=config.shape, prompt=config.prompt, fields=config.fields)


def places_of(step: int, piece: int, *, pieces: int, batch: int, pairs: int, seed: int) -> list[int]:
    """Which pairs a piece of an optimizer step holds: every epoch goes through all in an order of its own.

    Args:
        step: From 0.
        piece: Of `pieces` equal ones.
        pieces: Of a step, all ranks together.
        batch: Pairs of a step.
        pairs: Pairs altogether.
        seed: Of the orders.
    """
    size = batch // pieces
    first = step * batch + piece * size
    return [int(_order(seed, number // pairs, pairs)[number % pairs]) for number in range(first, first + size)]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, pairs: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(pairs)


def _picture(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB")
