"""Single files that appear whole or not at all.

Belongs here: replacing one local file in one step. Files that belong together are dataset versions (`store`).
"""

import os
import uuid
from pathlib import Path

PARTIAL = ".partial"
"""Suffix of what a killed writer may leave behind."""


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file: a reader sees the old content or the new one, also after a crash or with several writers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    with scratch.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)
