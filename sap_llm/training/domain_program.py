"""The training program of `domain_model`: `python -m sap_llm.training.domain_program --plan FILE`, one a rank.

Belongs here: the work of a step on packs of texts, what is measured before and after, and the result folder. The loop
is `loop`; the packs are `text_loader`; what is around the loop in every training program is `rank`.
"""

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sap_llm.modeling import packed_attention
from sap_llm.modeling.qwen import build_processor, build_qwen, load_qwen, save_qwen
from sap_llm.schema.manifest import Manifest
from sap_llm.storage.store import MANIFEST
from sap_llm.training.agreement import Agreement
from sap_llm.training.domain import MODEL_FOLDER, TOKENS, DomainModelConfig, tokens_config
from sap_llm.training.domain_tokens import GENERAL, MEASURED, PROCESSOR, TRAIN
from sap_llm.training.engine import Engine, open_engine
from sap_llm.training.hardware import peak_flops
from sap_llm.training.loop import Loop
from sap_llm.training.meter import Meter
from sap_llm.training.packing import Pack
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter, write_json
from sap_llm.training.shares import share
from sap_llm.training.text_loader import Numbers, PackStream, Position, halves, load
from sap_llm.training.text_shards import TextShards
from sap_llm.training.token_loss import chunked_cross_entropy, save_matmuls

_BOUNDS = 64
_COMPUTE = {"bf16": torch.bfloat16, "fp32": torch.float32}


class TextLoss(nn.Module):
    """A decoder with its loss, so that an engine sees every use of a weight."""

    def __init__(self, model: Any, config: DomainModelConfig) -> None:
        super().__init__()
        self.model, self._config = model, config
        self._compute = _COMPUTE[config.launch.precision]
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


class DomainTrainer:
    """One rank of a training run."""

    def __init__(self, plan: TrainingPlan[DomainModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
        self.plan, self.config, self.rank, self.ranks, self.reporter = plan, plan.config, rank, ranks, reporter
        folder = plan.input_path(TOKENS)
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        self.made_with = tokens_config(manifest.configuration)
        self.processor = build_processor(folder / PROCESSOR, self.made_with.shape)
        self.filler: int = self.processor.tokenizer.pad_token_id
        self.texts = TextShards(folder, TRAIN)
        budget = self.config.pack_tokens
        self.stream = PackStream(
            self.texts.shard,
            self.texts.lengths,
            budget=budget,
            window=self.config.window_texts,
            seed=self.config.seed,
        )
        self.shares = share(self.config.batch_packs * budget, ranks=ranks, micro_batch=budget, halvings=plan.halvings)
        self.parts = self.shares.pieces // self.config.batch_packs  # of one pack: more than 1 after a lack of memory
        torch.manual_seed(self.config.seed)
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if self._on_gpu else "cpu"
        module = TextLoss(self._start(), self.config)
        module.economise()
        for one in module.model.model.visual.parameters():  # no picture is shown, so nothing reaches it
            one.requires_grad_(requires_grad=False)
        learning = [one for one in module.parameters() if one.requires_grad]
        self.parameters = sum(getattr(one, "ds_numel", one.numel()) for one in learning)
        self.engine: Engine = open_engine(
            module.to(self.device).train(), self.config, backend=plan.backend, accumulation=self.shares.accumulation
        )
        self.record = Record(Meter(unit="tokens", parameters=self.parameters, peak_flops=self._peak_flops()))

    def run(self) -> None:
        """Train from the newest checkpoint, or from the start, and write the result folder."""
        Loop(
            plan=self.plan,
            rank=self.rank,
            engine=self.engine,
            record=self.record,
            reporter=self.reporter,
            agreement=Agreement(self.device),
            step=self._step,
            save=lambda: {"position": self.stream.position.to_json()},
            restore=lambda saved: setattr(self.stream, "position", Position.of(saved["position"])),
        ).run(
            f"{self.parameters / 1e6:.2f} M parameters, epochs of {int(self.texts.lengths.sum()):,} tokens, "
            f"{self.plan.backend} x {self.ranks} ({self.plan.backend_reason})"
        )
        weights = self.engine.weights()
        if self.rank == 0:
            self._write_result(weights)
        dist.barrier()

    def _start(self) -> Any:
        """The model that training starts from: a released checkpoint, or random weights.

        Whole in each rank's host memory, also under ZeRO stage 3: transformers cannot give weights to a model whose
        parameters were cut while it was built.
        """
        if self.made_with.base:
            return load_qwen(Path(self.made_with.base))[0]
        return build_qwen(self.made_with.shape, seed=self.config.seed)

    def _step(self) -> None:
        """One optimizer step; the loss is the mean over all tokens of all ranks."""
        with self.record.meter.part("data"):
            packs = self.stream.take(self.config.batch_packs)
        targets, texts = self.stream.targets(packs), sum(map(len, packs))
        for piece in self.shares.of_rank(self.rank):
            with self.record.meter.part("data"):
                pack = self._part(packs[piece // self.parts], piece % self.parts)
            # the engine averages over pieces and ranks
            loss = self.engine.module(pack, targets / self.shares.pieces)
            self.engine.step(loss)
            is_first = piece == self.shares.of_rank(self.rank).start  # which counts for the whole step
            self.record.add({"loss": loss.detach()}, words=(targets + texts) * is_first, documents=texts * is_first)

    def _part(self, numbers: Numbers, part: int) -> Pack:
        if self.parts > 1:
            chosen = halves(self.texts.lengths[numbers].tolist(), self.parts)[part]
            numbers = numbers[chosen]
        budget = int(self.texts.lengths[numbers].sum()) if self.parts > 1 else self.config.pack_tokens
        # a compiled step wants few shapes
        bounds = -(-(len(numbers) + 2) // _BOUNDS) * _BOUNDS if self.config.is_compiled else None
        return load(self.texts, numbers, budget=max(1, budget), filler=self.filler, bounds_size=bounds)

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
                pack = load(texts, stream.take(1)[0], budget=self.config.pack_tokens, filler=self.filler)
                with torch.no_grad():
                    total += float(module(pack, 1.0))
                tokens += pack.targets
            found[split] = total / tokens
        return found

    def _write_result(self, weights: Mapping[str, Tensor]) -> None:
        before = self._measured(self._start())
        model = self._start()
        model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        after = self._measured(model)
        folder = self.plan.result.with_name(".result")
        shutil.rmtree(folder, ignore_errors=True)
        save_qwen(folder / MODEL_FOLDER, model.to("cpu"), self.processor)
        metrics: dict[str, Any] = {}
        for moment, losses in (("before", before), ("after", after)):
            metrics |= {f"{split}_loss_{moment}": round(loss, 5) for split, loss in losses.items()}
            metrics |= {f"{split}_perplexity_{moment}": round(math.exp(loss), 3) for split, loss in losses.items()}
        if GENERAL in after:
            metrics["forgetting"] = round(after[GENERAL] - before[GENERAL], 5)
        metrics |= {
            "base": self.made_with.base or "random weights",
            "parameters": self.parameters,
            "steps": self.record.step,
            "tokens_seen": self.record.words,
            "loss": round(self.record.curve[-1]["loss"], 5) if self.record.curve else 0.0,
            "seconds": round(self.record.seconds, 1),
            "ranks": self.ranks,
            "backend": self.plan.backend,
            "backend_reason": self.plan.backend_reason,
            "device": self.reporter.gpu_name or "cpu",
            "resumed_from_step": self.record.resumed_from,
        }
        write_json(folder / "losses.json", self.record.curve)
        write_json(folder / "metrics.json", metrics)
        shutil.rmtree(self.plan.result, ignore_errors=True)
        folder.rename(self.plan.result)
        self.reporter.done(metrics)

    def _peak_flops(self) -> float | None:
        """Of all devices together, as configured or as the GPU's name tells; unknown on a CPU."""
        one = self.config.monitoring.peak_flops or peak_flops(self.reporter.gpu_name if self._on_gpu else None)
        return one * self.ranks if one else None

    @property
    def _on_gpu(self) -> bool:
        return self.config.launch.accelerator == "cuda"


def _train(plan: TrainingPlan[DomainModelConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    DomainTrainer(plan, rank=rank, ranks=ranks, reporter=reporter).run()


if __name__ == "__main__":
    run_rank(DomainModelConfig, _train)
