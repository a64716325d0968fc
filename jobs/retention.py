"""The job that says which dataset versions may be deleted, and deletes only when a person asks for it.

Belongs here: the op and its job. The decision is `sap_llm.storage.retention`; the command line has the same as
`sap-llm data retention`.
"""

import dagster as dg
from pydantic import Field

from resources.deployment import DeploymentResource
from resources.pictures import fit
from resources.stage_run import DATASET_REF, LogProgress, refusal
from sap_llm.registry.live_versions import plan_retention
from sap_llm.schema import markdown
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage import retention
from sap_llm.storage.dvc_ledger import retire_in

_RECORDS = 1000  # of each asset; older partitions are protected by their `current` pointer
_ROWS = 200


class RetentionRunConfig(dg.Config):
    """What a person may set for one run."""

    delete: bool = Field(default=False, description="carry the plan out; false only reports")


@dg.op(tags={"kind": "storage"})
def plan_and_report(context: dg.OpExecutionContext, config: RetentionRunConfig, deployment: DeploymentResource) -> str:
    """Plan; the table is in the output's metadata. Deletes only where the run's configuration says so."""
    try:
        house = deployment.load()
        now = house.clock.now()
        plan = plan_retention(
            house.store,
            registry=house.registry,
            verdicts=house.verdicts,
            config=house.config(retention.RetentionConfig, retention.RETENTION),
            now=now,
            newest=newest_materialised(context.instance),
        )
        if config.delete:
            release = retire_in(house.home, house.store)
            retention.apply(house.store, plan, now=now, progress=LogProgress(context.log), release=release)
    except SapLlmError as error:
        raise refusal(error) from error
    context.add_output_metadata(
        {
            "deleted": dg.MetadataValue.bool(config.delete),
            "versions_to_delete": len(plan.having("hide")),
            "bytes_to_delete": plan.bytes_of("hide"),
            "bytes_to_free": plan.bytes_of("purge") + sum(one.size_bytes for one in plan.leftovers),
            "versions_kept": len(plan.having("keep")),
            "plan": dg.MetadataValue.md(fit(*report(plan))),
        }
    )
    return "deleted" if config.delete else "planned"


@dg.job(
    description="Says which dataset versions may be deleted and why the rest is kept; deletes only with delete: true."
)
def retention_report() -> None:
    """One op."""
    plan_and_report()


def newest_materialised(instance: dg.DagsterInstance) -> dict[DatasetRef, str]:
    """The version that Dagster shows as newest of every asset and partition: a consumer would take it next."""
    found: dict[DatasetRef, str] = {}
    for key in instance.all_asset_keys():
        seen: set[str | None] = set()
        for record in instance.fetch_materializations(key, limit=_RECORDS).records:
            about = record.asset_materialization
            if about is None or record.partition_key in seen or DATASET_REF not in about.metadata:
                continue
            seen.add(record.partition_key)
            found[DatasetRef.parse(str(about.metadata[DATASET_REF].value))] = "newest in Dagster"
    return found


def report(plan: retention.RetentionPlan) -> list[str]:
    """The plan as Markdown: what goes, then what stays and why, bounded for the page."""
    parts = []
    for title, actions in (
        ("Deleted, or would be", ("hide", "purge", "wait")),
        ("Brought back", ("restore",)),
        ("Kept", ("keep",)),
    ):
        rows = [one for one in plan.decisions if one.action in actions]
        lines = [(one.ref, f"{one.size_bytes:,}", one.action, "; ".join(one.reasons)) for one in rows[:_ROWS]]
        more = [f"\nand {len(rows) - _ROWS} more"] if len(rows) > _ROWS else []
        table = markdown.table(("version", "bytes", "action", "why"), lines)
        parts.append("\n".join([f"### {title}: {len(rows)}", "", table, *more]) if rows else f"### {title}: none")
    scratch = [f"- {one.path} ({one.size_bytes:,} bytes)" for one in plan.leftovers]
    notes = [f"- {gap}" for gap in plan.gaps]
    return [*parts, *(["\n".join(["### Left by killed runs", *scratch])] if scratch else []), "\n".join(notes)]
