"""The Dagster resource that yields the domain's `Deployment`.

Belongs here: the resource. The wiring from profile to clients is `sap_llm.deployment`, shared with the CLI.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from resources.retries import LOCAL_PROCESS
from resources.stage_run import Context, StageRun, StageRunConfig, refusal
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import SapLlmError, SourceError


class DeploymentResource(dg.ConfigurableResource):
    """One profile of the house; assets open a `StageRun` on it."""

    profile: str = Field(description="configs/<profile>: seconds | tiny | gpu | cluster")

    def load(self, profile: str | None = None) -> Deployment:
        """The domain object; connects to nothing yet."""
        return Deployment.load(profile or self.profile)

    @contextmanager
    def open(
        self, context: Context, config: StageRunConfig | None = None, *, asset: str | None = None
    ) -> Iterator[StageRun]:
        """One execution of a stage; an error meant for users becomes the run's failure, whole, and is not retried.

        Args:
            context: Of the asset, op or check.
            config: Run configuration; a check or a later op of the same graph has none.
            asset: Asset key where the context does not know it (ops inside a graph asset, checks).
        """
        config = config or StageRunConfig()
        try:
            deployment = self.load(config.profile)
            yield StageRun(context, deployment, overrides=config.overrides, asset=asset or _asset_of(context))
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
            if LOCAL_PROCESS not in context.run.tags:
                raise  # a step that was preempted is retried by its policy
            raise dg.Failure("Cancelled. What was finished is kept.", allow_retries=False) from error
        except SourceError:
            raise  # an upstream system may be back in a moment
        except SapLlmError as error:
            raise refusal(error) from error


def _asset_of(context: Context) -> str:
    assert isinstance(context, dg.AssetExecutionContext), "ops and checks name their asset"
    return str(context.asset_key.path[-1])
