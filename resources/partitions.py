"""The partitions of the lineage, as Dagster knows them.

Belongs here: one definition per dimension. Which seed ranges, corpora and months a profile has is `configs/<profile>/
partitions.yaml`; `sap_llm_dagster.build` fills them in.
"""

import dagster as dg

from sap_llm.schema.document_stages import document_stage_names
from sap_llm.storage.partitions import PartitionsConfig

RELEASE = "release"
VARIANT = "variant"
DOCUMENT_STAGE = "document_stage"

release = dg.DynamicPartitionsDefinition(name=RELEASE)
"""One partition per frozen corpus and everything made from it; a release is opened by a person or by retraining."""

seed_range = dg.StaticPartitionsDefinition([])
"""Worlds of the simulator; empty here, filled with the profile's ranges by `with_profile`."""

corpus = dg.StaticPartitionsDefinition(["sroie"])
"""Public corpora; filled likewise."""

month = dg.MonthlyPartitionsDefinition(start_date="2025-01", fmt="%Y-%m", end_offset=1)
"""Months of processing in QorSync, in UTC, the running one included; begins with the profile's first month."""

release_variant = dg.MultiPartitionsDefinition({RELEASE: release, VARIANT: dg.StaticPartitionsDefinition(["int8"])})
"""Compressed variants of each release's model; filled likewise."""

release_stage = dg.MultiPartitionsDefinition(
    {RELEASE: release, DOCUMENT_STAGE: dg.StaticPartitionsDefinition(list(document_stage_names()))}
)
"""The eight document stages of each release; one run may cover several of them."""


def with_profile(spec: dg.AssetSpec, partitions: PartitionsConfig) -> dg.AssetSpec:
    """Give a spec that is partitioned by one of the definitions above the profile's partitions."""
    filled: dict[int, dg.PartitionsDefinition] = {
        id(seed_range): dg.StaticPartitionsDefinition(list(partitions.seed_ranges)),
        id(corpus): dg.StaticPartitionsDefinition(list(partitions.corpora)),
        id(month): dg.MonthlyPartitionsDefinition(start_date=partitions.first_month, fmt="%Y-%m", end_offset=1),
        id(release_variant): dg.MultiPartitionsDefinition(
            {RELEASE: release, VARIANT: dg.StaticPartitionsDefinition(list(partitions.variants))}
        ),
    }
    definition = filled.get(id(spec.partitions_def))
    return spec if definition is None else spec.replace_attributes(partitions_def=definition)
