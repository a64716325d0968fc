"""What every asset has, put on all specs in one place: owners, code versions, freshness, links to the code, partitions.

Belongs here: rules that are the same for a whole group or for all assets. What only one asset has stands on it.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dagster as dg

from resources.partitions import with_profile
from sap_llm.deployment import Deployment
from sap_llm.storage.build import code_version
from sap_llm.storage.partitions import PARTITIONS, PartitionsConfig
from sap_llm_dagster.stages import STAGE_CODE

REPOSITORY = Path(__file__).parent.parent
TIME_ZONE = "Europe/Berlin"

OWNERS: Mapping[str, str] = MappingProxyType(
    {
        "01_sources": "team:document-data",
        "02_synthetic": "team:document-data",
        "03_annotation": "team:annotation",
        "04_preparation": "team:document-data",
        "05_training": "team:document-ml",
        "06_evaluation": "team:document-ml",
        "07_compression": "team:document-ml",
        "08_registry": "team:document-ml",
        "09_memory": "team:document-memory",
        "10_progress": "team:document-ml",
    }
)
FRESHNESS: Mapping[str, dg.FreshnessPolicy] = MappingProxyType(
    {
        # Not per partition in Dagster, so only where "the latest" means something.
        "raw_exports": dg.FreshnessPolicy.cron(
            deadline_cron="0 6 * * *", lower_bound_delta=timedelta(hours=6), timezone=TIME_ZONE
        ),
        "pmg_snapshot": dg.FreshnessPolicy.time_window(fail_window=timedelta(days=45), warn_window=timedelta(days=21)),
    }
)


class Policies:
    """All rules for one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._partitions = deployment.config(PartitionsConfig, PARTITIONS)

    def apply(self, assets: Sequence[Any]) -> Sequence[Any]:
        """The assets with every rule applied."""
        return dg.with_source_code_references(dg.map_asset_specs(self._spec, assets))

    def _spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.path[-1]
        spec = with_profile(spec, self._partitions).replace_attributes(owners=[OWNERS[spec.group_name or ""]])
        if name in STAGE_CODE:
            version, model = STAGE_CODE[name]
            spec = spec.replace_attributes(code_version=code_version(version, self._deployment.config(model, name)))
        if name in FRESHNESS:
            spec = spec.replace_attributes(freshness_policy=FRESHNESS[name])
        return spec
