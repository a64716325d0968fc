"""The job that tells DVC what Dagster built, so that both front doors agree.

Belongs here: the one DVC writer (pool of one; DVC's lock fails when two write). The stages are declared in `dvc.yaml`;
running them is DVC's own business (`dvc repro`), never done from here.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg

from resources.deployment import DeploymentResource

_TIMEOUT_SECONDS = 900


@dg.op(pool="dvc", tags={"kind": "dvc"})
def dvc_commit(context: dg.OpExecutionContext, deployment: DeploymentResource) -> str:
    """Write `dvc.lock` and the cache for the outputs that exist, without executing anything."""
    checkout = deployment.load().home
    if not (checkout / ".dvc").is_dir() or not (checkout / "dvc.yaml").is_file():
        context.log.info("%s is no DVC checkout; nothing to commit", checkout)
        return "no checkout"
    done = subprocess.run(
        [_dvc(), "commit", "--force"],
        check=False,
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        raise dg.Failure(f"dvc commit failed: {done.stderr.strip()[-1000:]}", metadata={"exit_code": done.returncode})
    context.log.info("dvc.lock matches what was built")
    return "committed"


@dg.job(description="Run `dvc commit` after assets were built, where the folder is a DVC checkout.")
def commit_to_dvc() -> None:
    """One op, one writer."""
    dvc_commit()


def _dvc() -> str:
    beside = Path(sys.executable).with_name("dvc")
    return str(beside) if beside.exists() else shutil.which("dvc") or "dvc"
