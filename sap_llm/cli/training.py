"""`sap-llm training`: what a launch would be, and what more GPUs would bring, without starting anything.

Belongs here: asking and printing. The calculations are `sap_llm.training.preview`, `memory` and `scaling`; launching is
`sap-llm build` and Dagster.
"""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sap_llm.modeling.qwen import QwenShape, Size
from sap_llm.schema.errors import ConfigurationError

console = Console()
_RANKS = (1, 2, 8, 16)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    app.add_typer(commands, name="training")


commands = typer.Typer(
    no_args_is_help=True,
    help="What a training would need and start on the profile's place: this machine, hosts or Kubernetes.",
)


@commands.command()
def plan(
    stage: Annotated[str, typer.Option(help="training stage")] = "multitask_model",
    release: Annotated[str, typer.Option(help="name of the release")] = "r1",
) -> None:
    """Print effective batch, memory of a rank, and command lines or the TrainJob. Starts nothing, asks no server."""
    from sap_llm.deployment import Deployment
    from sap_llm.training.preview import preview, preview_plan
    from sap_llm.training.stages import TRAINING_STAGES

    known = {entry.name: entry for entry in TRAINING_STAGES}
    if stage not in known:
        raise ConfigurationError(f"no training stage {stage!r}", where="--stage", remedy=f"One of {', '.join(known)}.")
    deployment = Deployment.load(is_preview=True)
    chosen = known[stage]
    config = deployment.config(chosen.config, chosen.name)
    planned = preview_plan(chosen, config, release=release, work=deployment.home / deployment.settings.work)
    console.print(preview(chosen, planned, deployment.trainer()), highlight=False, markup=False, soft_wrap=True)


@commands.command()
def scaling(
    size: Annotated[Size, typer.Option(help="of Qwen2.5-VL")] = "7b",
    sequence: Annotated[int, typer.Option(help="tokens of a sequence")] = 4096,
    batch: Annotated[int, typer.Option(help="sequences of an optimizer step, all GPUs together")] = 256,
    micro_batch: Annotated[int, typer.Option(help="sequences that a GPU works on at a time")] = 4,
    tokens_per_second: Annotated[float, typer.Option(help="of one GPU alone, measured")] = 9200.0,
    nics_per_node: Annotated[int, typer.Option(help="network cards of 400 Gb/s")] = 8,
) -> None:
    """On paper: memory, messages and their time by GPUs and ZeRO stage; weights mixed, checkpointing on."""
    from sap_llm.training.config import LaunchConfig
    from sap_llm.training.memory import GIB, Workload, plan_memory
    from sap_llm.training.networks import qwen_network
    from sap_llm.training.scaling import Wires, step_time
    from sap_llm.training.shares import share

    network = qwen_network(QwenShape(size=size))
    wires = Wires(nics_per_node=nics_per_node)
    table = Table(
        "GPUs", "ZeRO", "pieces", "GiB a GPU", "sent GB a step", "messages s", "compute s", "ratio", "no overlap",
        title=f"{network.name}, {batch} x {sequence} tokens a step, {tokens_per_second:,.0f} tokens/s a GPU",
    )  # fmt: skip
    for ranks in _RANKS:
        for zero_stage in (1, 2, 3):
            launch = LaunchConfig(
                launcher="deepspeed",
                ranks=ranks,
                accelerator="cuda",
                weights="mixed",
                zero_stage=zero_stage,
                activation_checkpointing=True,
            )
            shares = share(batch, ranks=ranks, micro_batch=micro_batch)
            workload = Workload(network=network, tokens=shares.micro_batch * sequence, longest=sequence)
            memory = plan_memory(workload, launch, is_sharded=True, accumulation=shares.accumulation)
            step = step_time(
                network,
                stage=zero_stage,
                ranks=ranks,
                batch_tokens=batch * sequence,
                piece_tokens=shares.micro_batch * sequence,
                tokens_per_second=tokens_per_second,
                wires=wires,
            )
            ratio = step.compute_seconds / step.message_seconds if step.message_seconds else float("inf")
            table.add_row(
                str(ranks),
                str(zero_stage),
                str(step.accumulation),
                f"{memory.peak / GIB:,.1f}",
                f"{step.sent_bytes / 1e9:,.1f}",
                f"{step.message_seconds:,.2f}",
                f"{step.compute_seconds:,.1f}",
                f"{ratio:,.0f}",
                f"{step.worst_efficiency:.0%}",
            )
    console.print(table)
