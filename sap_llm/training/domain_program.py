"""The training program of `domain_model`: `python -m sap_llm.training.domain_program --plan FILE`, one a rank.

Belongs here: the work of a step on packs of texts, what is measured before and after, and the result folder. The loop
is `loop`; the packs are `text_loader`; what is around the loop in every training program is `rank`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sap_llm.modeling import packed_attention
from sap_llm.modeling.qwen import build_processor, build_qwen, load_qwen, save_qwen
from sap_llm.schema.manifest import Manifest
from sap_llm.storage.store import MANIFEST
from sap_llm.training.domain import MODEL_FOLDER, TOKENS, DomainModelConfig, shares_of, tokens_config
from sap_llm.training.domain_tokens import GENERAL, MEASURED, PROCESSOR, TRAIN
from sap_llm.training.engine import open_engine
from sap_llm.training.loop import COMPUTE, TrainingLoop
from sap_llm.training.meter import Meter
from sap_llm.training.packing import Pack
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter
from sap_llm.training.text_loader import Numbers, PackStream, Position, halves, load
from sap_llm.training.text_shards import TextShards
from sap_llm.training.token_loss import chunked_cross_entropy, save_matmuls

_BOUNDS = 64  # bounds of documents are repeated to a multiple of it where steps are compiled


class TextLoss(nn.Module):
    """A decoder with its loss, so that an engine sees every use of a weight."""

    def __init__(self, model: Any, config: DomainModelConfig) -> None:
        super().__init__()
        self.model, self._config = model, config
        self._compute = COMPUTE[config.launch.precision]
        model.set_attn_implementation({"text_config": packed_attention.register()})

    def forward(self, pack: Pack, divisor: float) -> Tensor:
        """Sum of the cross entropies of a pack's tokens over `divisor`."""
        weight: Tensor = self.model.lm_head.weight
        device = weight.device
        with torch.autocast(device.type, dtype=self._compute, enabled=self._compute == torch.bfloat16):
            hidden = self.model.model(
                input_ids=torch.from_numpy(pack.tokens).to(device)[None],
                position_ids=torch.from_numpy(pack.positions).to(device)[:, None],
                document_bounds=torch.from_numpy(pack.bounds).to(device),
                longest_document=pack.longest if not self._config.is_compiled else self._config.pack_tokens,
                use_cache=False,
            ).last_hidden_state[0]
        return chunked_cross_entropy(
            hidden.to(self._compute),
            weight.to(self._compute),
            torch.from_numpy(pack.labels).to(device),
            divisor=divisor,
            chunk=self._config.loss_chunk,
            compiled=self._config.is_compiled,
        )

    def economise(self) -> None:
        """Compute again what `keep` does not name, and compile: for training, once."""
        if self._config.keep != "all":
            extra = {"context_fn": save_matmuls} if self._config.keep == "matmuls" else {}
            self.model.gradient_checkpointing_enable({"use_reentrant": False, **extra})
        if self._config.is_compiled:
            for layer in self.model.model.language_model.layers:
                layer.compile(dynamic=False)


class DomainTrainer(TrainingLoop[DomainModelConfig]):
    """One rank of a training run."""

    def __init__(self, plan: TrainingPlan[DomainModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
        super().__init__(plan, rank=rank, ranks=ranks, reporter=reporter)
        folder, config = plan.input_path(TOKENS), self.config
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        self.made_with = tokens_config(manifest.configuration)
        self.processor = build_processor(folder / PROCESSOR, self.made_with.shape)
        self.texts = TextShards(folder, TRAIN)
        self.stream = PackStream(
            self.texts.shard,
            self.texts.lengths,
            budget=config.pack_tokens,
            window=config.window_texts,
            seed=config.seed,
        )
        self.shares = shares_of(config, ranks=ranks, halvings=plan.halvings)
        self._packs: tuple[int, list[Numbers]] = (-1, [])  # of which step, and that step's
        module = TextLoss(self._start(), config)
        module.economise()
        for one in module.model.model.visual.parameters():  # no picture is shown, so nothing reaches it
            one.requires_grad_(requires_grad=False)
        self.parameters = sum(one.numel() for one in module.parameters() if one.requires_grad)
        self.engine = open_engine(
            module.to(self.device), config, backend=plan.backend, accumulation=self.shares.accumulation
        )
        self.record = Record(Meter(unit="tokens", parameters=self.parameters, peak_flops=self.device_flops()))

    def opening(self) -> str:
        """What is said when training starts afresh."""
        return f"{self.parameters / 1e6:.2f} M parameters read epochs of {int(self.texts.lengths.sum()):,} tokens"

    def state(self) -> dict[str, Any]:
        """Where the stream of packs is."""
        return self.stream.position.to_json()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self.stream.position = Position(**state)

    def piece(self, number: int) -> None:
        """Learn from a pack, or a part of one; the loss of a step is the mean over all its tokens."""
        with self.record.meter.part("data"):
            packs = self._step_packs()
            pack = self._part(packs, number)
        targets, texts = self.stream.targets(packs), sum(map(len, packs))
        # the engine averages over pieces and ranks
        loss = self.engine.module(pack, targets / self.shares.pieces)
        self.engine.step(loss)
        is_first = number == self.shares.of_rank(self.rank).start  # it counts for the whole step
        self.record.add({"loss": loss.detach()}, words=(targets + texts) * is_first, documents=texts * is_first)

    def _step_packs(self) -> list[Numbers]:
        if self._packs[0] != self.record.step:
            self._packs = (self.record.step, self.stream.take(self.config.batch_packs))
        return self._packs[1]

    def _start(self) -> Any:
        """The model that training starts from: a released checkpoint, or random weights.

        Whole in each rank's host memory, also under ZeRO stage 3: transformers cannot give weights to a model whose
        parameters were cut while it was built.
        """
        if self.made_with.base:
            return load_qwen(Path(self.made_with.base))[0]
        return build_qwen(self.made_with.shape, seed=self.config.seed)

    def _part(self, packs: Sequence[Numbers], number: int) -> Pack:
        """Piece `number` of a step; after a lack of memory a pack is several pieces."""
        parts = self.shares.pieces // self.config.batch_packs
        numbers, budget = packs[number // parts], self.config.pack_tokens
        if parts > 1:
            numbers = numbers[halves(self.texts.lengths[numbers].tolist(), parts)[number % parts]]
            budget = max(1, int(self.texts.lengths[numbers].sum()))
        # a compiled step wants few shapes
        bounds = -(-(len(numbers) + 2) // _BOUNDS) * _BOUNDS if self.config.is_compiled else None
        return load(self.texts, numbers, budget=budget, filler=self._filler, bounds_size=bounds)

    @property
    def _filler(self) -> int:
        return int(self.processor.tokenizer.pad_token_id)

    def _measured(self, model: Any) -> dict[str, float]:
        """Mean loss a token of each split that is only measured; empty splits have none."""
        module = TextLoss(model, self.config).to(self.device).eval()
        found = {}
        for split in MEASURED:
            texts = TextShards(self.plan.input_path(TOKENS), split)
            if not len(texts):
                continue
            stream = PackStream(
                texts.shard, texts.lengths, budget=self.config.pack_tokens, window=len(texts), seed=self.config.seed
            )
            total = tokens = 0.0
            while tokens < min(self.config.measured_tokens, texts.lengths.sum()) and stream.position.epoch == 0:
                self.reporter.beat()
                pack = load(texts, stream.take(1)[0], budget=self.config.pack_tokens, filler=self._filler)
                with torch.no_grad():
                    total += float(module(pack, 1.0))
                tokens += pack.targets
            found[split] = total / tokens
        return found

    def write_result(self, weights: dict[str, Tensor]) -> None:
        """Model folder, loss curve, and losses of what was held out, before and after."""
        before = self._measured(self._start())
        model = self._start()
        model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        after = self._measured(model)
        folder = self.scratch()
        save_qwen(folder / MODEL_FOLDER, model.to("cpu"), self.processor)
        metrics: dict[str, Any] = {}
        for moment, losses in (("before", before), ("after", after)):
            metrics |= {f"{split}_loss_{moment}": round(loss, 5) for split, loss in losses.items()}
            metrics |= {f"{split}_perplexity_{moment}": round(math.exp(loss), 3) for split, loss in losses.items()}
        if GENERAL in after:
            metrics["forgetting"] = round(after[GENERAL] - before[GENERAL], 5)
        metrics |= self.metrics() | {
            "base": self.made_with.base or "random weights",
            "parameters": self.parameters,
            "tokens_seen": self.record.words,
            "texts_seen": self.record.documents,
        }
        self.publish(folder, metrics)


def _train(plan: TrainingPlan[DomainModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    DomainTrainer(plan, rank=rank, ranks=ranks, reporter=reporter).run()


if __name__ == "__main__":
    run_rank(DomainModelConfig, _train)
