"""The Dagster resource that yields the domain's `Deployment`.

Belongs here: the resource. The wiring from profile to clients is `sap_llm.deployment`, shared with the CLI.
"""

import dagster as dg
from pydantic import Field

from resources.stage_run import Context, StageRun, StageRunConfig
from sap_llm.deployment import Deployment


class DeploymentResource(dg.ConfigurableResource):
    """One profile of the house; assets open a `StageRun` on it."""

    profile: str = Field(description="configs/<profile>: seconds | tiny | gpu | cluster")

    def load(self, profile: str | None = None) -> Deployment:
        """The domain object; connects to nothing yet."""
        return Deployment.load(profile or self.profile)

    def open(self, context: Context, config: StageRunConfig | None = None, *, asset: str | None = None) -> StageRun:
        """Start one execution of a stage.

        Args:
            context: Of the asset, op or check.
            config: Run configuration; a check or a later op of the same graph has none.
            asset: Asset key where the context does not know it (ops inside a graph asset).
        """
        config = config or StageRunConfig()
        return StageRun(
            context, self.load(config.profile), overrides=config.overrides, asset=asset or context.asset_key.path[-1]
        )
