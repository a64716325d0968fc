"""`sap-llm build instruction-pairs` and `instructed-model`: what a vision-language model is taught, and teaching it.

Belongs here: the two verbs, apart from `build` so that each module stays readable. The stages are
`sap_llm.training.instructions` and `instructed`.
"""

import typer

from sap_llm.cli import build
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import require_gates


def register(commands: typer.Typer) -> None:
    """Add the verbs to the group `build`."""
    commands.command()(instruction_pairs)
    commands.command()(instructed_model)


def instruction_pairs(release: build.Release = build.DEFAULT_RELEASE, values: build.Values = None) -> None:
    """Make instructions with right answers about the documents of the training set."""
    from sap_llm.reading.sandbox import Sandbox
    from sap_llm.training.instructions import InstructionPairsConfig, build_instruction_pairs

    deployment = Deployment.load()
    training_set = build.current(deployment, f"training_set/{release}")
    require_gates(deployment.verdicts, deployment.store.open(training_set), consumer="instruction_pairs")
    with Sandbox() as sandbox:
        built = build_instruction_pairs(
            deployment.context(build.progress),
            config=deployment.config(InstructionPairsConfig, "instruction_pairs", build.overrides_of(values)),
            training_set=training_set,
            release=release,
            render=sandbox.render,
        )
    build.say(built)


def instructed_model(release: build.Release = build.DEFAULT_RELEASE, values: build.Values = None) -> None:
    """Teach the domain model to answer instructions about documents; a killed run resumes from its last checkpoint."""
    from sap_llm.training.instructed import INSTRUCTED_MODEL

    build.train(INSTRUCTED_MODEL, release, values)
