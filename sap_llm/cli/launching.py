"""Launching a training stage from the command line: does it fit, then run it where the deployment says.

Belongs here: what every verb that trains shares. The places are `sap_llm.training.trainer`, the verbs `build` and
`build_adapters`.
"""

from typing import TYPE_CHECKING, Any

from rich.console import Console

from sap_llm.deployment import Deployment

if TYPE_CHECKING:
    from sap_llm.training.plan import TrainingPlan
    from sap_llm.training.stage import Launch, TrainingStage

console = Console()


def launcher(deployment: Deployment, stage: "TrainingStage[Any]") -> "Launch":
    """Runs a plan of the stage where the deployment says, if it fits there."""
    from sap_llm.training.preview import require_fit
    from sap_llm.training.stage import launch_training

    trainer = deployment.trainer()

    def launch(plan: "TrainingPlan[Any]") -> None:
        if table := require_fit(stage, plan, trainer):
            console.print(table, highlight=False)
        launch_training(plan, trainer=trainer, mlflow_uri=deployment.mlflow_uri)

    return launch
