"""Builds the definitions of the code location, for every front end, test and deployment alike.

Belongs here: the registry stage -> module and the order of assembly. What is put on every asset is `policies`.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import dagster as dg

from assets import (
    annotation,
    compression,
    evaluation,
    memory,
    preparation,
    progress,
    registry,
    sources,
    synthetic,
    training,
)
from assets.checks import gate_checks
from assets.checks.adapters import adapter_checks
from assets.checks.drift import drift_checks
from assets.checks.health import health_checks
from jobs import JOBS, SCHEDULES
from resources.deployment import DeploymentResource
from resources.pipes import ProcessGroupPipesClient
from sap_llm.deployment import DEFAULT_PROFILE, Deployment
from sap_llm.training.stages import TRAINING_STAGES
from sap_llm_dagster.cluster import cluster_executor, cluster_resources
from sap_llm_dagster.loggers import progress_logger
from sap_llm_dagster.policies import Policies
from sensors import SENSORS

PROFILE_VARIABLE = "SAP_LLM_PROFILE"

STAGES: Mapping[str, ModuleType] = MappingProxyType(
    {
        "01_sources": sources,
        "02_synthetic": synthetic,
        "03_annotation": annotation,
        "04_preparation": preparation,
        "05_training": training,
        "06_evaluation": evaluation,
        "07_compression": compression,
        "08_registry": registry,
        "09_memory": memory,
        "10_progress": progress,
    }
)
"""Asset group -> module: an asset never spells its group. Groups form a DAG in this order."""


def build_defs(*, deployment: str | None = None, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Assemble all definitions.

    Args:
        deployment: Profile in `configs/`; by default SAP_LLM_PROFILE, else tiny.
        overrides: Resource key -> another resource, for tests.
    """
    loaded_deployment = Deployment.load(deployment)
    policies = Policies(loaded_deployment)
    loaded = [
        dg.load_assets_from_modules([module], group_name=group, include_specs=True) for group, module in STAGES.items()
    ]
    assets = policies.apply([asset for group in loaded for asset in group])
    specs = [spec for asset in assets if isinstance(asset, dg.AssetsDefinition) for spec in asset.specs]
    names = {stage.name for stage in TRAINING_STAGES}
    trained = [spec for spec in specs if spec.key.path[-1] in names]
    return dg.Definitions(
        assets=assets,
        asset_checks=[
            *gate_checks(specs),
            *drift_checks(specs),
            *health_checks(trained),
            *adapter_checks(specs),
        ],
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        loggers={"progress": progress_logger},
        executor=cluster_executor(loaded_deployment, assets, JOBS),
        resources={**_resources(deployment), **cluster_resources(loaded_deployment), **(overrides or {})},
    )


def _resources(profile: str | None) -> dict[str, Any]:
    named = dg.EnvVar(PROFILE_VARIABLE) if PROFILE_VARIABLE in os.environ else DEFAULT_PROFILE
    return {
        "deployment": DeploymentResource(profile=profile or named),
        "pipes": ProcessGroupPipesClient(),
    }
