"""The job that tells DVC what Dagster built, so that both front doors agree.

Belongs here: the op and its job. The pool of one keeps Dagster's runs apart, the lock of `storage.dvc_writer` the
command line from them. The stages are declared in `dvc.yaml`; running them is DVC's own business (`dvc repro`).
"""

import dagster as dg

from resources.deployment import DeploymentResource
from resources.stage_run import refusal
from sap_llm.schema.errors import SapLlmError, VersionControlError
from sap_llm.storage.dvc_ledger import DvcLedger, local_versions, split_stages
from sap_llm.storage.dvc_writer import is_checkout, only_writer

_STAGES = "dvc.yaml"
_WAIT_SECONDS = 1800.0  # a push of the command line may take long


@dg.op(pool="dvc", tags={"kind": "dvc"})
def dvc_commit(context: dg.OpExecutionContext, deployment: DeploymentResource) -> str:
    """Track every complete version, and write `dvc.lock` for the stages, without executing anything."""
    house = deployment.load()
    if not is_checkout(house.home) or not (house.home / _STAGES).is_file():
        context.log.info("%s is no DVC checkout; nothing to commit", house.home)
        return "no checkout"
    try:
        with only_writer(
            house.home, f"Dagster run {context.run.run_id}", wait_seconds=_WAIT_SECONDS, clock=house.clock
        ) as writer:
            versions = list(local_versions(house.store))
            fresh = DvcLedger(house.home, house.store).record(writer, versions)
            built, others = split_stages(house.home)
            if built:
                writer.run("commit", "--force", *built)
    except VersionControlError as error:
        raise dg.Failure(str(error)) from error  # DVC may be free again when the run is launched again
    except SapLlmError as error:
        raise refusal(error) from error
    context.log.info("%d of %d versions are new to DVC", len(fresh), len(versions))
    context.log.info("stages committed: %s; not built: %s", ", ".join(built) or "none", ", ".join(others) or "none")
    context.add_output_metadata({"versions": len(versions), "new": len(fresh), "stages": len(built)})
    return "committed"


@dg.job(description="Track what was built with DVC (`dvc add`, `dvc commit`), where the folder is a DVC checkout.")
def commit_to_dvc() -> None:
    """One op, one writer."""
    dvc_commit()
