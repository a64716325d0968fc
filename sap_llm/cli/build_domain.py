"""`sap-llm build domain-tokens` and `domain-model`: what a decoder goes on reading, and letting it.

Belongs here: the two verbs, apart from `build` so that each module stays readable. The stages are
`sap_llm.training.domain_tokens` and `domain`.
"""

import typer

from sap_llm.cli import build
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import require_gates


def register(commands: typer.Typer) -> None:
    """Add the verbs to the group `build`."""
    commands.command()(domain_tokens)
    commands.command()(domain_model)


def domain_tokens(release: build.Release = build.DEFAULT_RELEASE, values: build.Values = None) -> None:
    """Write SAP's texts and the documents' words as token shards; without sap-knowledge the documents alone."""
    from sap_llm.training.domain_tokens import DomainTokensConfig, build_domain_tokens

    deployment = Deployment.load()
    training_set, store = build.current(deployment, f"training_set/{release}"), deployment.store
    knowledge = store.current("sap_knowledge") if "sap_knowledge" in store.names() else None
    for ref in (training_set, knowledge):
        if ref is not None:
            require_gates(deployment.verdicts, store.open(ref), consumer="domain_tokens")
    built = build_domain_tokens(
        deployment.context(build.progress),
        config=deployment.config(DomainTokensConfig, "domain_tokens", build.overrides_of(values)),
        training_set=training_set,
        knowledge=knowledge,
        release=release,
    )
    build.say(built)


def domain_model(release: build.Release = build.DEFAULT_RELEASE, values: build.Values = None) -> None:
    """Let a decoder go on reading the tokens; a killed run resumes from its last checkpoint."""
    from sap_llm.training.domain import DOMAIN_MODEL

    build.train(DOMAIN_MODEL, release, values)
