"""Donut: from the picture of a page to the answer, without reading words first.

Belongs here: the network, its pictures and its model folder. The token format of answers is `answer_tokens`; other
families read words (`protocol.Reader`).

Source: Kim et al. 2022, arXiv:2111.15664; network of transformers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DonutSwinConfig, MBartConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

from sap_llm.modeling.backbones.answer_tokens import AnswerTokens
from sap_llm.modeling.backbones.shapes import DonutShape
from sap_llm.modeling.backbones.subwords import TOKENIZER, Subwords
from sap_llm.schema.errors import ConfigurationError

SHAPE = "shape.json"
_IGNORED = -100  # what torch's cross entropy leaves out


class Donut(nn.Module):
    """Implements `protocol.Generator`."""

    def __init__(self, shape: DonutShape) -> None:
        super().__init__()
        tokenizer = _tokenizer(shape)
        self.tokens = AnswerTokens(tokenizer)
        self.model = self._open(shape)
        found = self.model.config
        self.shape = shape.model_copy(
            update={
                "picture": tuple(found.encoder.image_size),
                "channels": found.encoder.num_channels,
                "width": found.encoder.embed_dim,
                "depths": tuple(found.encoder.depths),
                "heads": tuple(found.encoder.num_heads),
                "window": found.encoder.window_size,
                "decoder_width": found.decoder.d_model,
                "decoder_layers": found.decoder.decoder_layers,
                "decoder_heads": found.decoder.decoder_attention_heads,
                "positions": found.decoder.max_position_embeddings,
                "vocabulary": found.decoder.vocab_size,
                "tokenizer": TOKENIZER,
                "pretrained": None,
            }
        )

    def _open(self, shape: DonutShape) -> Any:
        if shape.pretrained is None:
            model = VisionEncoderDecoderModel(hugging_face_config(shape, vocabulary=self.tokens.size))
        else:
            model = VisionEncoderDecoderModel.from_pretrained(shape.pretrained)
            model.decoder.resize_token_embeddings(self.tokens.size)
        for config in (model.config, model.generation_config):
            config.decoder_start_token_id, config.pad_token_id = self.tokens.start, self.tokens.padding
            config.bos_token_id, config.eos_token_id = self.tokens.start, self.tokens.end
        return model

    def loss(self, pictures: npt.NDArray[np.uint8], answers: Sequence[Mapping[str, Any]]) -> Tensor:
        """Mean cross entropy of the tokens of the answers, each cut to the most tokens that the shape has room for.

        Args:
            pictures: uint8 [batch, height, width], black is 0.
            answers: Objects as `answer_tokens.answer_of` makes them.
        """
        rows = [[*self.tokens.encode(answer), self.tokens.end][: self.shape.positions] for answer in answers]
        labels = np.full((len(rows), max(map(len, rows))), _IGNORED, dtype=np.int64)
        for row, ids in zip(labels, rows, strict=True):
            row[: len(ids)] = ids
        loss: Tensor = self.model(
            pixel_values=self.pixels(pictures), labels=torch.from_numpy(labels).to(self._device)
        ).loss
        return loss

    @torch.inference_mode()
    def generate(self, pictures: npt.NDArray[np.uint8], *, most_tokens: int) -> list[Mapping[str, Any]]:
        """The likeliest answer to each picture, token by token; see `protocol.Generator`."""
        found = self.model.generate(
            pixel_values=self.pixels(pictures),
            max_new_tokens=min(most_tokens, self.shape.positions - 1),
            do_sample=False,
            num_beams=1,
        )
        return [self.tokens.decode(ids[1:]) for ids in found.tolist()]

    def pixels(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """Pictures as the network sees them: shrunk or stretched to its size, ink 1 and paper 0, centred."""
        ink = 1.0 - torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device).float()[:, None] / 255.0
        sized = F.interpolate(ink, size=self.shape.picture, mode="bilinear", antialias=True)
        return (sized - 0.5).expand(-1, self.shape.channels, -1, -1)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def save(self, folder: Path) -> None:
        """Write a model folder: transformers' files, the tokenizer and the shape."""
        self.model.save_pretrained(folder)
        self.tokens.tokenizer.save(str(folder / TOKENIZER))
        (folder / SHAPE).write_text(self.shape.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Donut":
        """The network of a model folder, in evaluation mode.

        Raises:
            ConfigurationError: It is no folder that `save` wrote.
        """
        try:
            shape = DonutShape.model_validate(json.loads((folder / SHAPE).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise ConfigurationError("no Donut model folder", where=str(folder), remedy="Train one.") from error
        files = {"tokenizer": str(folder / TOKENIZER), "pretrained": str(folder)}
        donut = cls(shape.model_copy(update=files))
        donut.eval()
        return donut


def hugging_face_config(shape: DonutShape, *, vocabulary: int) -> VisionEncoderDecoderConfig:
    """The configuration of transformers that has this shape; `vocabulary` where the shape names none."""
    encoder = DonutSwinConfig(
        image_size=list(shape.picture),
        num_channels=shape.channels,
        embed_dim=shape.width,
        depths=list(shape.depths),
        num_heads=list(shape.heads),
        window_size=shape.window,
    )
    decoder = MBartConfig(
        vocab_size=shape.vocabulary or vocabulary,
        d_model=shape.decoder_width,
        decoder_layers=shape.decoder_layers,
        decoder_attention_heads=shape.decoder_heads,
        decoder_ffn_dim=4 * shape.decoder_width,
        max_position_embeddings=shape.positions,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        add_final_layer_norm=True,
        scale_embedding=True,
    )
    return VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)


def _tokenizer(shape: DonutShape) -> Any:
    if shape.pretrained is None or shape.tokenizer is not None:
        return Subwords.open(shape.tokenizer).tokenizer
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shape.pretrained).backend_tokenizer
