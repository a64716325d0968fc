"""Small files under one root, a folder or an object store, each replaced as a whole.

Belongs here: reading, listing and atomically replacing text files. Datasets are `storage`, not this.
"""

import tempfile
import uuid
from pathlib import Path
from typing import Any

import fsspec

from sap_llm.storage.whole import write_whole


class RegistryFiles:
    """Text files by relative path under a folder or an fsspec URL."""

    def __init__(self, root: str | Path, **storage_options: Any) -> None:
        self.root_url = str(root)
        self.filesystem, path = fsspec.core.url_to_fs(self.root_url, **storage_options)
        protocol = self.filesystem.protocol
        self.is_local = "file" in (protocol if isinstance(protocol, tuple) else (protocol,))
        self.root = str(Path(path).resolve()) if self.is_local else path.rstrip("/")

    def read(self, relative: str) -> str | None:
        """Content of a file, None if there is none."""
        try:
            return bytes(self.filesystem.cat_file(f"{self.root}/{relative}")).decode()
        except FileNotFoundError:
            return None

    def write(self, relative: str, text: str) -> None:
        """Replace a file as a whole: a reader sees the old content or the new one, also after a crash."""
        target = f"{self.root}/{relative}"
        if not self.is_local:
            self.filesystem.pipe_file(target, text.encode())
            return
        write_whole(Path(target), text.encode())

    def exists(self, relative: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self.filesystem.exists(f"{self.root}/{relative}"))

    def list(self, folder: str) -> list[str]:
        """Relative paths of the JSON files directly in `folder`, sorted."""
        found = self.filesystem.glob(f"{self.root}/{folder}/*.json")
        paths = [str(path).removeprefix(f"{self.root}/") for path in found]
        return sorted(path for path in paths if not Path(path).name.startswith("."))

    def local_folder(self, relative: str) -> Path:
        """A local folder with the content of `relative`; downloaded once when the root is remote.

        The content must never change under that name.
        """
        if self.is_local:
            return Path(self.root) / relative
        cache = Path(tempfile.gettempdir()) / "sap_llm_cache" / "registry" / relative
        if not cache.exists():
            partial = cache.with_name(f".{cache.name}.{uuid.uuid4().hex}")
            self.filesystem.get(f"{self.root}/{relative}/", f"{partial}/", recursive=True)
            if not cache.exists():
                partial.rename(cache)
        return cache
