"""The cache of downloaded documents: content by hash, and per address what the server said of it.

Belongs here: files on disk and nothing else. Asking servers is `metadata_fetch`.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from sap_llm.sources.corpus import sha256
from sap_llm.storage.whole import write_whole


@dataclass(frozen=True, kw_only=True)
class Cached:
    """One document on disk with the validators for the next conditional request."""

    url: str
    path: Path
    sha256: str
    etag: str = ""
    last_modified: str = ""
    content_type: str = ""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers with which a server may answer 304."""
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in asked.items() if value}


class MetadataCache:
    """A folder, safe to share between threads and processes: every file appears whole or not at all."""

    def __init__(self, folder: Path, *, suffix: str = ".edmx") -> None:
        self._folder, self._suffix = folder, suffix

    def find(self, url: str) -> Cached | None:
        """The document of an address, or None; a damaged one counts as absent and is downloaded again."""
        try:
            entry = json.loads(self._entry(url).read_text(encoding="utf-8"))
            cached = Cached(
                url=url,
                path=self._content(entry["sha256"]),
                sha256=entry["sha256"],
                etag=entry["etag"],
                last_modified=entry["last_modified"],
                content_type=entry.get("content_type", ""),
            )
            return cached if sha256(cached.path.read_bytes()) == cached.sha256 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(
        self, url: str, content: bytes, *, etag: str = "", last_modified: str = "", content_type: str = ""
    ) -> Cached:
        """Keep a document; the entry appears after its content."""
        digest = sha256(content)
        said = {"etag": etag, "last_modified": last_modified, "content_type": content_type}
        entry = {"url": url, "sha256": digest, **said}
        write_whole(self._content(digest), content)
        write_whole(self._entry(url), json.dumps(entry, sort_keys=True).encode())
        return Cached(url=url, path=self._content(digest), sha256=digest, **said)

    def _entry(self, url: str) -> Path:
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"

    def _content(self, digest: str) -> Path:
        return self._folder / f"{digest}{self._suffix}"
