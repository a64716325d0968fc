"""What an adapter is worth: the loss that it is trained by, and right answers on validation examples.

Belongs here: the one forward pass that training and validation share, and the numbers. The loop is `trainer`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sap_llm.training.adapters.batches import Batch
from sap_llm.training.packing import IGNORED


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of validation examples.

    Attributes:
        loss: Cross entropy by token of the answers.
        accuracy: Share of the answers that greedy decoding writes word for word: every token is the likeliest one
            after the right ones before it, so the decoder would choose the same.
        token_accuracy: Share of the answers' tokens that are the likeliest.
        examples: How many were scored.
    """

    loss: float
    accuracy: float
    token_accuracy: float
    examples: int

    def metrics(self, suffix: str = "") -> dict[str, float]:
        """As metrics of a dataset; empty where nothing was scored."""
        if not self.examples:
            return {}
        values = {"loss": self.loss, "accuracy": self.accuracy, "token_accuracy": self.token_accuracy}
        return {f"validation_{name}{suffix}": round(value, 5) for name, value in values.items()}


def answer_logits(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, float32 [targets, vocabulary], at the places whose next token is learned, and these tokens.

    Only these rows go through the output projection: it is the largest product of a small batch.
    """
    whole = model.get_base_model()
    hidden = whole.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    learned = batch.labels != IGNORED
    return whole.lm_head(hidden[learned]).float(), batch.labels[learned]


class AdapterLoss(nn.Module):
    """A model with its loss, of which only the factors of one adapter are trained, saved and spread over ranks.

    The model is no child of it: what an engine finds here, and so a checkpoint, is the adapter alone.
    """

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        model.set_adapter(name)
        object.__setattr__(self, "model", model)
        trained = ((key, value) for key, value in model.named_parameters() if value.requires_grad)
        self.factors = nn.ParameterDict({key.replace(".", "/"): value for key, value in trained})

    def train(self, mode: bool = True) -> "AdapterLoss":
        """Switch the model's dropout on or off."""
        self.model.train(mode)
        return self

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any]) -> None:
        """Let the base compute activations again; the engine asks for it by the name that transformers gave it."""
        self.model.get_base_model().activation_checkpointing_enable(gradient_checkpointing_kwargs)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Sum of the cross entropies of the answers' tokens."""
        logits, targets = answer_logits(self.model, batch)
        return functional.cross_entropy(logits, targets, reduction="sum")


@torch.no_grad()
def score(model: Any, batches: Iterable[Batch]) -> Scores:
    """Score the model as it stands, in evaluation mode."""
    loss, hits, tokens, right, rows = 0.0, 0, 0, 0, 0
    for batch in batches:
        logits, targets = answer_logits(model, batch)
        loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
        hit = logits.argmax(-1) == targets
        hits, tokens = hits + int(hit.sum()), tokens + len(targets)
        row_of = (batch.labels != IGNORED).nonzero()[:, 0]
        missed = torch.zeros(len(batch.labels), device=hit.device, dtype=torch.int64).index_add_(
            0, row_of, (~hit).long()
        )
        right, rows = right + int((missed == 0).sum()), rows + len(batch.labels)
    if not rows:
        return Scores(loss=0.0, accuracy=0.0, token_accuracy=0.0, examples=0)
    return Scores(loss=loss / tokens, accuracy=right / rows, token_accuracy=hits / tokens, examples=rows)
