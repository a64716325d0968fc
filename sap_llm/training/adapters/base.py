"""What the adapters of one release share in one process: the frozen base, its tokenizer and the documents.

Belongs here: loading them once. What is done with them is `trainer`.
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from sap_llm.modeling.adapters import LoraShape, attach, base_digest
from sap_llm.modeling.qwen import load_qwen
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.store import Dataset, DatasetStore
from sap_llm.training.adapters.batches import Batch, Encoded, encode
from sap_llm.training.adapters.config import StageAdaptersConfig
from sap_llm.training.adapters.documents import read_documents
from sap_llm.training.adapters.stage import BASE, TRAINING_SET
from sap_llm.training.adapters.tasks import examples
from sap_llm.training.instructed import MODEL_FOLDER
from sap_llm.training.plan import TrainingPlan


class Base:
    """The model on its device, and the documents of both splits.

    Attributes:
        model: The base, from the first adapter on wrapped by peft.
        digest: `base_digest` of its folder; known to rank 0, which writes the cards.
        parameters: Of the base alone.
        pad: Token id.
    """

    def __init__(self, plan: TrainingPlan[StageAdaptersConfig], device: torch.device, *, rank: int) -> None:
        self._config, self._device = plan.config, device
        folder = plan.input_path(BASE, MODEL_FOLDER)
        self.digest = base_digest(folder) if rank == 0 else ""
        dtype = "bfloat16" if plan.config.base_weights == "bf16" else "float32"
        base, self._processor = load_qwen(folder, dtype=dtype, attention=plan.config.attention)
        self.parameters: int = base.num_parameters()
        base.requires_grad_(requires_grad=False)
        if plan.config.shard_base:
            shard_blocks(base, device)
        self.model: Any = base.to(device)
        self.pad = int(self._processor.tokenizer.pad_token_id)
        training_set = _opened(plan, TRAINING_SET)
        limits = {"train": plan.config.documents, "validation": plan.config.validation_documents}
        self._documents = {
            split: list(read_documents(training_set, split=split, most=most)) for split, most in limits.items()
        }

    def add(self, stage: str, shape: LoraShape) -> None:
        """Put an untrained adapter on the base; its first factors are drawn from torch's generator."""
        self.model = attach(self.model, shape, [stage]).to(self._device)

    def encoded(self, stage: str, split: str) -> tuple[list[Encoded], int]:
        """Examples of a stage that fit, and how many were too long."""
        made = examples(stage, self._documents[split], self._config.tasks, seed=self._config.seed)
        return encode(made, self._processor, most_tokens=self._config.most_tokens)


def shard_blocks(base: Any, device: torch.device) -> None:
    """Spread the weights of each block over the ranks, in place; a block gathers them while it computes.

    To be called before adapters are attached: their factors then stay whole on every rank. Embedding and output
    projection stay whole too, since the loss calls them apart from the model.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in (*base.model.language_model.layers, *base.model.visual.blocks):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch where the model is."""
    return Batch(batch.input_ids.to(device), batch.attention_mask.to(device), batch.labels.to(device))


def _opened(plan: TrainingPlan[StageAdaptersConfig], asset: str) -> Dataset:
    """The consumed version of `asset` with the store around it: its own inputs are read too.

    Raises:
        ConfigurationError: They are not there, as where the store is no folder that this rank sees.
    """
    ref = plan.inputs[asset]
    store = DatasetStore(Path(plan.folders[asset]).parents[len(Path(ref.name).parts)])
    dataset = store.open(ref)
    missing = [str(one) for one in dataset.manifest.inputs.values() if store.find(one) is None]
    if missing:
        raise ConfigurationError(
            f"pages and truths of the documents are not at hand: {', '.join(missing)}",
            where=str(ref),
            remedy="Keep the datasets in a folder that all nodes see; of an object store only the version comes.",
        )
    return dataset
