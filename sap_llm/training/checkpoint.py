"""Checkpoints of a training run: written to a scratch folder, renamed when complete, the newest one is resumed from.

Belongs here: naming, completeness and pruning. The content is the engine's (`engine`) plus the loss curve so far; the
data position and all randomness follow from the step number (`batches`, `program`), so nothing else need be saved.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PREFIX = "step-"
_SCRATCH = ".writing"
_STATE = "progress.json"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint; `step` optimizer steps are done."""

    step: int
    folder: Path

    def progress(self) -> dict[str, Any]:
        """What `commit` was given."""
        return dict(json.loads((self.folder / _STATE).read_text()))


def newest(root: Path) -> Checkpoint | None:
    """The newest complete checkpoint below `root`; a folder that a killed run left half written is never one."""
    found = [Checkpoint(int(path.name.removeprefix(_PREFIX)), path) for path in root.glob(f"{_PREFIX}*")]
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


def scratch(root: Path) -> Path:
    """The folder that all ranks write into; emptied by `prepare`."""
    return root / _SCRATCH


def prepare(root: Path) -> None:
    """Empty the scratch folder; rank 0 only, before the others write."""
    shutil.rmtree(scratch(root), ignore_errors=True)
    scratch(root).mkdir(parents=True)


def commit(root: Path, *, step: int, progress: dict[str, Any], keep: int) -> Checkpoint:
    """Make the scratch folder the checkpoint of `step` and drop all but the newest `keep`; rank 0 only."""
    folder = scratch(root)
    (folder / _STATE).write_text(json.dumps(progress))
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
    target = root / f"{_PREFIX}{step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    _sync(root)
    old = sorted(root.glob(f"{_PREFIX}*"))[:-keep] if keep else []
    for path in old:
        # renamed first, so that a kill in the middle of the removal leaves nothing that looks complete
        doomed = path.with_name(f".{path.name}.removed")
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return Checkpoint(step, target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
