"""Checkpoints of a training run: written to a scratch folder, renamed when complete, the newest one is resumed from.

Belongs here: naming, completeness, which is the best, and pruning. The content is the engine's (`engine`) plus the
record so far (`record`); the data position and all randomness follow from the step number (`batches`, `program`), so
nothing else need be saved.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PREFIX = "step-"
_SCRATCH = ".writing"
_STATE, _SCORE = "progress.json", "score"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint; `step` optimizer steps are done."""

    step: int
    folder: Path

    def progress(self) -> dict[str, Any]:
        """What `commit` was given."""
        return dict(json.loads((self.folder / _STATE).read_text()))

    @property
    def score(self) -> float | None:
        """Validation F1 at its step, None where none was measured."""
        found = self.progress().get(_SCORE)
        return None if found is None else float(found)


def newest(root: Path) -> Checkpoint | None:
    """The newest complete checkpoint below `root`; a folder that a killed run left half written is never one."""
    return max(_complete(root), key=lambda checkpoint: checkpoint.step, default=None)


def best(root: Path) -> Checkpoint | None:
    """The complete checkpoint with the highest score, of equal ones the earliest; None where none has one."""
    scored = [(score, -found.step, found) for found in _complete(root) if (score := found.score) is not None]
    return max(scored, key=lambda entry: entry[:2])[2] if scored else None


def _complete(root: Path) -> list[Checkpoint]:
    found = [Checkpoint(int(path.name.removeprefix(_PREFIX)), path) for path in root.glob(f"{_PREFIX}*")]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def scratch(root: Path) -> Path:
    """The folder that all ranks write into; emptied by `prepare`."""
    return root / _SCRATCH


def prepare(root: Path) -> None:
    """Empty the scratch folder; rank 0 only, before the others write."""
    shutil.rmtree(scratch(root), ignore_errors=True)
    scratch(root).mkdir(parents=True)


def commit(root: Path, *, step: int, progress: dict[str, Any], keep: int, score: float | None = None) -> Checkpoint:
    """Make the scratch folder the checkpoint of `step`; all but the newest `keep` and the best go; rank 0 only."""
    folder = scratch(root)
    (folder / _STATE).write_text(json.dumps(progress if score is None else progress | {_SCORE: score}))
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
    target = root / f"{_PREFIX}{step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    _sync(root)
    kept = best(root)
    for old in _complete(root)[:-keep] if keep else []:
        if old == kept:
            continue
        # renamed first, so that a kill in the middle of the removal leaves nothing that looks complete
        doomed = old.folder.with_name(f".{old.folder.name}.removed")
        old.folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return Checkpoint(step, target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
