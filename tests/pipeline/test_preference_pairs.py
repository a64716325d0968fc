"""The asset by release: it reads the memory that was frozen for its release and shows the counts and the report."""

import json

import dagster as dg
import pyarrow as pa

from resources.partitions import RELEASE
from sap_llm.deployment import Deployment
from sap_llm.pmg.snapshot import NODES
from sap_llm.storage.build import StageConfig, build
from sap_llm.storage.store import Dataset, DatasetWriter
from tests.support.dagster_records import record_materialisation

DOCUMENTS = pa.schema([("document_id", pa.string()), ("split_group", pa.string())])


def _dataset(house: Deployment, name: str, table: str, rows: pa.Table) -> Dataset:
    def produce(writer: DatasetWriter) -> dict[str, int]:
        writer.write_table(table, rows, rows.schema)
        return {}

    return build(house.context(), name=name, stage_version="1", config=StageConfig(), produce=produce).dataset


def test_pairs_are_made_of_the_memory_of_the_release(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    field = {"field": "total_amount", "value": "119.00"}
    content = json.dumps({"document_type": "RECEIPT", "fields": [field], "line_items": []})
    change = json.dumps({"total_amount": {"before": "119.00", "after": "118.00"}})
    said = {"extraction_id": "ex", "sequence": 1, "kind": "correction", "user_id": "ana", "corrections": change}
    nodes = [
        ("Document", "d", {"role": "train", "split_group": "w"}),
        ("Extraction", "ex", {"document_id": "d", "content": content}),
        ("Feedback", "fb", said),
    ]
    rows = [
        {"label": label, "id": name, "properties": json.dumps(values | {"id": name})} for label, name, values in nodes
    ]
    instance.add_dynamic_partitions(RELEASE, ["r1"])
    snapshot = _dataset(house, "pmg_snapshot/r1", "nodes", pa.Table.from_pylist(rows, schema=NODES))
    evaluation = _dataset(house, "model_evaluation/r1", "documents", DOCUMENTS.empty_table())
    for dataset in (snapshot, evaluation):
        record_materialisation(instance, dataset)

    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("preference_pairs")], partition_key="r1"
    )

    (made,) = result.asset_materializations_for_node("preference_pairs")
    assert made.metadata["pairs"].value == 1
    assert made.metadata["extractions_quarantined"].value == 0
    ref = house.store.current("preference_pairs/r1")
    assert house.store.open(ref).manifest.inputs["pmg_snapshot"] == snapshot.ref
