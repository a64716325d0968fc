"""Instruction pairs as a model reads them: pages and pictures from the dataset, tokens, and what is learned from.

Belongs here: reading `instruction_pairs` and encoding batches, padded, with a mask. Making the dataset is
`instructions`; the loop that learns from it is `instruct`.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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

IGNORED = -100
"""Label of a token from which nothing is learned; the number that torch's cross entropy leaves out."""

Row = Mapping[str, Any]
_GROUPS_IN_MEMORY = 8  # of 8 MiB of pictures each


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A padded batch.

    Attributes:
        inputs: What the model's forward takes, tokens first: input_ids, attention_mask, mm_token_type_ids int64
            [pairs, length], pixel_values, image_grid_thw.
        labels: int64 [pairs, length], what each token is to be; IGNORED but for the answers.
        too_long: Pairs that were left out because they have too many tokens.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    too_long: int

    def to(self, device: "torch.device | str") -> "Encoded":
        """The same on a device."""
        inputs = {name: value.to(device) for name, value in self.inputs.items()}
        return Encoded(inputs=inputs, labels=self.labels.to(device), too_long=self.too_long)


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
        self.settings, self._processor, self._most_tokens = settings, processor, most_tokens
        self.pages = ShownPages(folder / "pages.parquet")
        table = pq.read_table(folder / "pairs.parquet", filters=[("split", "=", split)])
        self.rows: list[Row] = sorted(table.to_pylist(), key=lambda row: str(row["pair_id"]))
        answers = [self._answer(row) for row in self.rows]
        encoded = processor.tokenizer(answers, add_special_tokens=False).input_ids if answers else []
        self.answer_lengths: npt.NDArray[np.int64] = np.array([len(ids) for ids in encoded], dtype=np.int64)

    def __len__(self) -> int:
        """Pairs."""
        return len(self.rows)

    def request(self, row: Row) -> Request:
        """The question of a pair as the predictor asks it."""
        pages, pictures = self.pages.of(row["document_id"])
        instruction = Instruction(kind=row["kind"], text=row["instruction"], field=row["field"])
        return Request(pages=pages, pictures=pictures, instruction=instruction)

    def encode(self, places: Sequence[int]) -> Encoded | None:
        """The pairs at these places as one batch; None where all of them are too long."""
        parts = [self._one(self.rows[place]) for place in places]
        kept = [part for part in parts if part["input_ids"].shape[1] <= self._most_tokens]
        if not kept:
            return None
        longest = max(part["input_ids"].shape[1] for part in kept)
        fillers = {
            "input_ids": self._processor.tokenizer.pad_token_id, "attention_mask": 0, "mm_token_type_ids": 0,
            "labels": IGNORED,
        }  # fmt: skip
        batch = {
            name: torch.cat([_padded(part[name], longest, filler) for part in kept]) for name, filler in fillers.items()
        }
        batch |= {name: torch.cat([part[name] for part in kept]) for name in ("pixel_values", "image_grid_thw")}
        labels = batch.pop("labels")
        return Encoded(inputs=batch, labels=labels, too_long=len(parts) - len(kept))

    def _one(self, row: Row) -> dict[str, Tensor]:
        request = self.request(row)
        prompt = self._processor(
            text=[prompt_of(self._processor, request, self.settings.prompt)],
            images=list(request.pictures),
            return_tensors="pt",
        )
        answer = torch.tensor([self._processor.tokenizer(self._answer(row), add_special_tokens=False).input_ids])
        length = prompt["input_ids"].shape[1]
        return {
            "input_ids": torch.cat([prompt["input_ids"], answer], dim=1),
            "attention_mask": torch.ones((1, length + answer.shape[1]), dtype=torch.int64),
            "mm_token_type_ids": torch.cat([prompt["mm_token_type_ids"], torch.zeros_like(answer)], dim=1),
            "labels": torch.cat([torch.full((1, length), IGNORED), answer], dim=1),
            "pixel_values": prompt["pixel_values"],
            "image_grid_thw": prompt["image_grid_thw"],
        }

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


def _padded(values: Tensor, length: int, filler: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, length - values.shape[1]), value=filler)


def _picture(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB")
