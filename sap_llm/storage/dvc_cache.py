"""Freeing and mending DVC's cache: objects that only deleted versions use, and objects that are damaged.

Belongs here: what `dvc gc` cannot do, which knows only a whole workspace and would take other branches' data along. A
cache outside the checkout may serve other projects and is left alone.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from sap_llm.storage.dvc_writer import DvcWriter

_DIRECTORY = ".dir"
DIGEST = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")
"""How DVC names an object: the md5 of a file, or of a folder's list of files."""


class DvcCache:
    """The cache of the checkout that a writer holds."""

    def __init__(self, writer: DvcWriter) -> None:
        self._home = writer.home
        self._root = Path(writer.run("cache", "dir").strip().splitlines()[-1])

    def drop(self, digests: Iterable[str], *, kept: Iterable[str]) -> int:
        """Remove the objects of folders that no kept folder, `.dvc` file or `dvc.lock` names; returns their bytes."""
        if not self._root.resolve().is_relative_to(self._home.resolve()):
            return 0
        used = {digest for root in (*kept, *self._named()) for digest in self._closure(root)}
        freed = 0
        for digest in {digest for root in digests for digest in self._closure(root)} - used:
            path = self._object(digest)
            if path.exists():
                freed += path.stat().st_size
                path.unlink()
        return freed

    def drop_damaged(self, digest: str) -> None:
        """Remove the objects of a folder whose bytes are not what their name says; DVC fetches them again."""
        for one in self._closure(digest):
            path = self._object(one)
            if path.exists() and _md5(path) != one.removesuffix(_DIRECTORY):
                path.unlink()

    def _named(self) -> set[str]:
        """Digests that other files of the checkout name: its `dvc.lock` and `.dvc` files."""
        found: set[str] = set()
        folders = [path for path in self._home.iterdir() if path.is_dir() and not path.name.startswith(".")]
        paths = [self._home / "dvc.lock", *self._home.glob("*.dvc")]
        for path in [*paths, *(file for folder in folders for file in folder.rglob("*.dvc"))]:
            if path.is_file():
                found.update(DIGEST.findall(path.read_text(encoding="utf-8")))
        return found

    def _closure(self, digest: str) -> set[str]:
        """A folder's own object and those of its files, as far as its list is here."""
        path = self._object(digest)
        if not digest.endswith(_DIRECTORY) or not path.exists():
            return {digest}
        try:
            return {digest, *(entry["md5"] for entry in json.loads(path.read_text(encoding="utf-8")))}
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
            return {digest}  # damaged itself

    def _object(self, digest: str) -> Path:
        return self._root / "files" / "md5" / digest[:2] / digest[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
