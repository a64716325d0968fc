"""Puts datasets into a store and on Dagster's record without running the stages that make them.

Belongs here: what tests of doors, launches and sensors need in place of a finished upstream.
"""

import dagster as dg
import pyarrow as pa

from resources.partitions import RELEASE, VARIANT
from resources.stage_run import DATASET_REF
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import gates_of
from sap_llm.registry.verdicts import Verdict
from sap_llm.storage.build import StageConfig, build
from sap_llm.storage.store import Dataset, DatasetWriter


def small_dataset(house: Deployment, name: str) -> Dataset:
    """A dataset whose one row says its name."""

    def produce(writer: DatasetWriter) -> dict[str, int]:
        rows = pa.table({"document_id": [f"doc of {name}"]})
        for table in ("documents", "shards"):
            writer.write_table(table, rows, rows.schema)
        return {"documents": 1}

    return build(house.context(), name=name, stage_version="1", config=StageConfig(), produce=produce).dataset


def record_materialisation(instance: dg.DagsterInstance, dataset: Dataset) -> None:
    """Tell Dagster that an asset's partition was materialised with this version."""
    asset, release, variant = [*dataset.ref.name.split("/"), None][:3]
    instance.add_dynamic_partitions(RELEASE, [str(release)])
    key = dg.MultiPartitionKey({RELEASE: str(release), VARIANT: variant}) if variant else release
    instance.report_runless_asset_event(
        dg.AssetMaterialization(str(asset), partition=key, metadata={DATASET_REF: str(dataset.ref)})
    )


def record_verdicts(house: Deployment, dataset: Dataset, *, passed: bool) -> None:
    """A verdict of each gate of the dataset."""
    for gate in gates_of(dataset.ref.name):
        house.verdicts.record(
            Verdict(
                gate=gate,
                data_version=dataset.manifest.data_version,
                passed=passed,
                measured={"leaks": 0 if passed else 3},
                required={"leaks": 0},
                explanation="as the test says",
                created_at=house.clock.now(),
            )
        )
