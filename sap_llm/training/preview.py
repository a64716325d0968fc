"""What a launch would be, before it is one: the shares of the batch, the memory of a rank, and what would be started.

Belongs here: putting these together for a person, and refusing what cannot fit. The calculations are `shares` and
`memory`, the places `trainer` and `kubernetes`.
"""

from pathlib import Path
from typing import Any

from sap_llm.schema.errors import MissingToolError
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.training.launch import choose_backend
from sap_llm.training.memory import GIB, MemoryPlan, plan_memory, require_memory
from sap_llm.training.plan import Config, TrainingPlan
from sap_llm.training.shares import Shares
from sap_llm.training.stage import TrainingStage
from sap_llm.training.trainer import Trainer

_PREVIEW = "preview"  # in place of the version, which the inputs decide


def require_fit(stage: TrainingStage[Config], plan: TrainingPlan[Config], trainer: Trainer) -> str | None:
    """The memory table of a plan for GPUs; None for CPU ranks and for a stage that does not say what it works on.

    Raises:
        OutOfMemoryPlanError: It cannot fit the cards.
    """
    if plan.config.launch.accelerator != "cuda":
        return None
    planned = planned_memory(stage, plan.config, is_sharded=plan.backend == "deepspeed", halvings=plan.halvings)
    if planned is None:
        return None
    shares, memory = planned
    card = trainer.card_bytes()
    if card is not None:
        require_memory(memory, card_bytes=card, shares=shares, is_sharded=plan.backend == "deepspeed")
    return memory.table(card)


def preview_plan(stage: TrainingStage[Config], config: Config, *, release: str, work: Path) -> TrainingPlan[Config]:
    """A plan to be shown, without inputs; the tools of the launch are taken to be where it will run."""
    try:
        backend, reason = choose_backend(config.launch)
    except MissingToolError:
        backend, reason = "deepspeed", "as configured"
    name = f"{stage.name}/{release}"
    return TrainingPlan(
        stage=stage.name,
        program=stage.program,
        name=name,
        version=_PREVIEW,
        inputs={},
        folders={},
        work=str(work / name / _PREVIEW),
        backend=backend,
        backend_reason=reason,
        taxonomy_version=taxonomy_version(),
        config=config,
    )


def planned_memory(
    stage: TrainingStage[Config], config: Config, *, is_sharded: bool, halvings: int = 0
) -> tuple[Shares, MemoryPlan] | None:
    """Shares of the batch and memory of one rank, as far as the stage says what it works on."""
    worked_on = stage.workload(config, halvings) if stage.workload else None
    if worked_on is None:
        return None
    shares, workload = worked_on
    return shares, plan_memory(workload, config.launch, is_sharded=is_sharded, accumulation=shares.accumulation)


def preview(stage: TrainingStage[Any], plan: TrainingPlan[Any], trainer: Trainer) -> str:
    """All of it as text; starts nothing and refuses nothing."""
    launch = plan.config.launch
    stage_of_zero = launch.zero_stage if plan.backend == "deepspeed" else 0
    what = f"{plan.name}: {plan.config.steps:,} steps of {plan.program} on {launch.ranks} ranks ({launch.accelerator})"
    parts = [f"{what}, {plan.backend}, ZeRO stage {stage_of_zero}, weights {launch.weights}"]
    planned = planned_memory(stage, plan.config, is_sharded=plan.backend == "deepspeed", halvings=plan.halvings)
    if planned is not None:
        shares, memory = planned
        unit = memory.workload.batch_unit or memory.workload.unit
        pieces = f"{shares.ranks} ranks x {shares.accumulation} pieces x {shares.micro_batch:,} {unit}"
        parts += [f"effective batch {shares.effective:,} {unit} = {pieces}"]
        card = trainer.card_bytes() if launch.accelerator == "cuda" else None
        parts += [memory.table(card)]
        if card is not None and not memory.fits(card):
            parts += [f"  does not fit a card of {card / GIB:,.1f} GiB; a launch is refused and says what would"]
    return "\n".join([*parts, "", trainer.describe(plan)])
