"""Work with the desk: putting a release's tasks there, and collecting what people answered.

Belongs here: the op that sends (one sender at a time) and the selection that collects. What is sent and how is
`sap_llm.annotation.sending`; when answers are collected is `sensors.annotation`.
"""

import json

import dagster as dg

from resources.deployment import DeploymentResource
from resources.partitions import release
from sap_llm.annotation.human import STAGE, HumanAnnotationsConfig
from sap_llm.schema.annotation import TASKS

COLLECT_ANSWERS, SEND_FOR_ANNOTATION = "collect_answers", "send_for_annotation"
_SHOWN = 20  # refused documents that the log names

collect_answers = dg.define_asset_job(
    COLLECT_ANSWERS,
    selection=dg.AssetSelection.assets(STAGE),
    description="Take over what people answered about a release (partition: release).",
)


@dg.op(pool="annotation", tags={"kind": "labelstudio"})
def send_tasks(context: dg.OpExecutionContext, deployment: DeploymentResource) -> int:
    """Put the release's tasks on the desk; those that are there stay as they are."""
    from sap_llm.annotation.sending import send
    from sap_llm.reading.sandbox import Sandbox

    name = context.partition_key
    with deployment.open(context, asset=STAGE) as stage, Sandbox() as sandbox:
        tasks = stage.open_dataset(stage.ref("annotation_tasks", name))
        inputs = tasks.manifest.inputs.values()
        annotated = next((ref for ref in inputs if ref.name.startswith("annotated_docs/")), None)
        sent = send(
            stage.context,
            desk=stage.deployment.desk(),
            tasks=tasks.table("tasks").select(TASKS.names),
            annotated=annotated or stage.ref("annotated_docs", name),
            release=name,
            config=stage.config(HumanAnnotationsConfig).sending,
            render=sandbox.render,
            human=stage.find(STAGE, name),
        )
    for row in sent.refused[:_SHOWN]:
        context.log.warning("not sent: %s", json.dumps(row, default=str))
    context.log.info("%d tasks sent, %d were there, %d cannot be shown", sent.posted, sent.present, len(sent.refused))
    counts = {"sent": sent.posted, "present": sent.present, "renewed": sent.renewed, "refused": len(sent.refused)}
    context.add_output_metadata(counts)
    return sent.posted


@dg.job(partitions_def=release, description="Put the tasks of a release on the desk (partition: release); idempotent.")
def send_for_annotation() -> None:
    """One op, one sender."""
    send_tasks()
