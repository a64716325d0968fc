"""Not a test: one rank of a few optimizer steps on a small model, started by the tests of the engines.

`python -m tests.support.engine_steps BACKEND ZERO_STAGE FOLDER [--adamw]`, with the ranks' addresses as variables.
Rank 0 leaves weights.pt in the folder: after the first steps, after some more, and after the same ones from the
checkpoint in between, by an engine that began with other weights.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

STEPS = 3


def run_ranks(
    backend: str, folder: Path, *, ranks: int, zero_stage: int = 1, adamw: bool = False
) -> dict[str, dict[str, Tensor]]:
    """Start the ranks, wait, and return weights.pt."""
    from sap_llm.training.launch import free_port

    folder.mkdir()
    root = Path(__file__).parents[2]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    shared |= {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    command = [
        sys.executable,
        "-m",
        "tests.support.engine_steps",
        backend,
        str(zero_stage),
        str(folder),
        *(["--adamw"] if adamw else []),
    ]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=200)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    weights: dict[str, dict[str, Tensor]] = torch.load(folder / "weights.pt")
    return weights


class Small(nn.Module):
    """An embedding, hidden matrices of the shapes that the encoder has, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 24)
        shapes = ((24, 72), (72, 24), (24, 24))
        # three blocks: on two ranks the border runs through a matrix of the middle one
        self.blocks = nn.ModuleList(nn.ModuleList(nn.Linear(*shape) for shape in shapes) for _ in range(3))
        self.head = nn.Linear(24, 5)

    def forward(self, words: Tensor) -> Tensor:
        vectors = self.embedding(words)
        for block in self.blocks:
            inner = vectors
            for layer in block:
                inner = torch.tanh(layer(inner))
            vectors = vectors + inner
        return self.head(vectors)


def _main(backend: str, zero_stage: int, folder: Path, *, adamw: bool) -> None:
    from sap_llm.training.config import MultitaskModelConfig
    from sap_llm.training.engine import Engine, join_ranks, open_engine

    torch.set_num_threads(1)
    config = MultitaskModelConfig.model_validate(
        {
            "steps": 20,
            "launch": {"zero_stage": zero_stage, "precision": "fp32", "threads": 1},
            # ZeRO stage 3 cuts matrices, which Muon does not allow
            "optimizer": {"gradient_clipping": 0.05, "warmup_share": 0.1}
            | ({"muon_learning_rate": 0.0} if adamw else {}),
        }
    )
    rank, _ = join_ranks(backend=backend)

    def engine(seed: int) -> Engine:
        torch.manual_seed(seed)
        return open_engine(Small(), config, backend=backend)

    def advance(given: Engine, first: int) -> dict[str, Tensor]:
        for step in range(first, first + STEPS):
            generator = torch.Generator().manual_seed(100 * step + rank)
            words = torch.randint(0, 50, (8,), generator=generator)
            classes = torch.randint(0, 5, (8,), generator=generator)
            given.step(nn.functional.cross_entropy(given.module(words), classes))
        return given.weights()

    weights: dict[str, Any] = {}
    whole = engine(0)
    weights["start"] = whole.weights()
    weights["early"] = advance(whole, 0)
    whole.save(folder)
    dist.barrier()
    weights["late"] = advance(whole, STEPS)
    resumed = engine(1)
    resumed.load(folder)
    weights["resumed"] = advance(resumed, STEPS)
    if rank == 0:
        torch.save(weights, folder / "weights.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), adamw="--adamw" in sys.argv)
