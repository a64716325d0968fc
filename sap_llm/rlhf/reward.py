"""A reward model: the project's vision-language backbone with a scalar head, taught by preference pairs.

Belongs here: the network, the Bradley-Terry loss with margin, one training loop, what is measured on held-out pairs.
Which pairs there are is `pairs`; a reward that is computed from a known truth is `answers`.

Answers that only look good are a part of what it learns from: `hardened` sets each preferred answer against silence, a
broken form and padding, or a policy would find these ways before it finds the right values.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.evaluation.calibration import expected_calibration_error
from sap_llm.modeling.qwen import QwenShape, build_qwen
from sap_llm.rlhf.answers import DOCUMENT_TYPE, as_json
from sap_llm.schema.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn
    from transformers import Qwen2_5_VLForConditionalGeneration

    from sap_llm.modeling.qwen_processor import DocumentProcessor

TRAINED_LAYERS = 2
_QUESTION = "Extract the values of this document as JSON."


class RewardConfig(BaseModel):
    """How a reward model is taught."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1)
    pairs_a_step: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    most_gradient: float = Field(default=1.0, gt=0, description="gradient norm that is clipped to")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One document as text, picture or both, and two answers about it."""

    text: str
    chosen: str
    rejected: str
    margin: float = 0.0
    picture: "Image | None" = None


class RewardModel:
    """Scores answers: the state of the last token through a linear head. Only the last two layers and it are trained.

    Args:
        backbone: Vision-language model; its other parameters are frozen in place.
        processor: Its processor.
        seed: For the head's first weights.
    """

    def __init__(
        self, backbone: "Qwen2_5_VLForConditionalGeneration", processor: "DocumentProcessor", *, seed: int
    ) -> None:
        import torch

        self.processor, self.backbone = processor, backbone.model
        self.backbone.requires_grad_(False)
        decoder = self.backbone.language_model
        trained: list[nn.Module] = [*decoder.layers[-TRAINED_LAYERS:], decoder.norm]
        for module in trained:
            module.requires_grad_(True)
        width = backbone.config.text_config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = torch.nn.Linear(width, 1)
        self.head.to(next(self.backbone.parameters()).device)

    def parameters(self) -> list["nn.Parameter"]:
        """What is trained."""
        return [*(one for one in self.backbone.parameters() if one.requires_grad), *self.head.parameters()]

    def score(
        self, texts: Sequence[str], answers: Sequence[str], pictures: Sequence["Image | None"] | None = None
    ) -> "Tensor":
        """Rewards of answers, float [answers], with gradients; texts and pictures are of their documents."""
        inputs = self._inputs(texts, answers, pictures or [None] * len(texts))
        states = self.backbone(**inputs, use_cache=False).last_hidden_state
        last = inputs["attention_mask"].sum(dim=1) - 1  # padding stands on the right
        rewards: Tensor = self.head(states[range(len(last)), last].float())[:, 0]
        return rewards

    def _inputs(
        self, texts: Sequence[str], answers: Sequence[str], pictures: Sequence["Image | None"]
    ) -> dict[str, Any]:
        prompts = []
        for text, answer, picture in zip(texts, answers, pictures, strict=True):
            asked: list[dict[str, Any]] = [{"type": "image"}] if picture is not None else []
            asked.append({"type": "text", "text": f"{text}\n{_QUESTION}"})
            turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            prompts.append(self.processor.apply_chat_template(turns, tokenize=False))
        shown = [picture for picture in pictures if picture is not None]
        encoded = self.processor(
            text=prompts, images=shown or None, padding=True, padding_side="right", return_tensors="pt"
        )
        return dict(encoded.to(next(self.backbone.parameters()).device))


def build_reward_model(shape: QwenShape, processor: "DocumentProcessor", *, seed: int) -> RewardModel:
    """A reward model of random weights, the same for the same seed."""
    return RewardModel(build_qwen(shape, seed=seed), processor, seed=seed)


def preference_loss(chosen: "Tensor", rejected: "Tensor", margins: "Tensor") -> "Tensor":
    """Mean of -log sigmoid(chosen - rejected - margin) over pairs (Bradley and Terry 1952; margin: Llama 2, 2023)."""
    from torch.nn.functional import logsigmoid

    return -logsigmoid(chosen - rejected - margins).mean()


def hardened(comparison: Comparison) -> Iterator[Comparison]:
    """The preferred answer against ways to look good: silence, a broken form, and a value said under one more name."""
    said: Mapping[str, str] = json.loads(comparison.chosen)
    silent = as_json({DOCUMENT_TYPE: said[DOCUMENT_TYPE]}) if DOCUMENT_TYPE in said else "{}"
    worse = ["{}", silent, comparison.chosen[:-1], comparison.chosen + comparison.chosen]
    values = [value for place, value in said.items() if place != DOCUMENT_TYPE]
    free = [field.name for field in load_taxonomy().fields if field.level == "header" and field.name not in said]
    if values:
        padding = dict(zip(free[: len(values)], values, strict=False))
        worse.append(as_json({**said, **padding}))
    for answer in dict.fromkeys(worse):
        if answer != comparison.chosen:
            yield Comparison(
                text=comparison.text,
                chosen=comparison.chosen,
                rejected=answer,
                margin=comparison.margin,
                picture=comparison.picture,
            )


def train_reward_model(
    model: RewardModel, comparisons: Sequence[Comparison], config: RewardConfig, *, seed: int
) -> list[float]:
    """Teach a model in place; returns the loss of every step.

    Raises:
        ValueError: There is no pair.
    """
    import torch

    if not comparisons:
        raise ValueError("no pair to learn from")
    order = random.Random(seed)  # noqa: S311 -- reproducible, no secret
    parameters = model.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    losses: list[float] = []
    model.backbone.train()
    for _ in range(config.steps):
        batch = order.sample(comparisons, min(config.pairs_a_step, len(comparisons)))
        chosen, rejected = _scores(model, batch)
        loss = preference_loss(chosen, rejected, torch.tensor([one.margin for one in batch], device=chosen.device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.most_gradient)
        optimizer.step()
        losses.append(loss.item())
    model.backbone.eval()
    return losses


def measure_reward_model(
    model: RewardModel, comparisons: Sequence[Comparison], *, pairs_a_step: int = 16
) -> dict[str, float]:
    """Accuracy and calibration on pairs that it did not learn from.

    Returns:
        accuracy (share of pairs whose preferred answer scores higher), mean_confidence (in the answer that scores
        higher) and calibration_error, the expected difference of the two over bins of confidence.
    """
    import torch

    margins: list[float] = []
    with torch.no_grad():
        for start in range(0, len(comparisons), pairs_a_step):
            chosen, rejected = _scores(model, comparisons[start : start + pairs_a_step])
            margins += (chosen - rejected).tolist()
    differences = torch.tensor(margins, dtype=torch.float64)
    right, sure = differences > 0, differences.abs().sigmoid()
    return {
        "accuracy": float(right.double().mean()),
        "mean_confidence": float(sure.mean()),
        "calibration_error": expected_calibration_error(sure.tolist(), right.tolist()) or 0.0,
    }


def _scores(model: RewardModel, batch: Sequence[Comparison]) -> tuple["Tensor", "Tensor"]:
    """Rewards of preferred and of other answers, in one forward pass."""
    texts, pictures = [one.text for one in batch] * 2, [one.picture for one in batch] * 2
    both = model.score(texts, [*(one.chosen for one in batch), *(one.rejected for one in batch)], pictures)
    return both[: len(batch)], both[len(batch) :]
