"""The one interface of all corpus readers.

Belongs here: what a reader is given and what it yields. Joining truth and words, grouping and writing tables is
`public` for all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.page import Page
from sap_llm.sources.corpus import Fault
from sap_llm.sources.truth import Truth


@dataclass(frozen=True, kw_only=True)
class Read:
    """A document as its reader found it, truth and pages not yet joined.

    Attributes:
        key: Identity within the corpus; the same key is the same document.
        name: File, for people.
        content: The file's bytes; `media_type` says what they are.
        vendor: Who issued it; None takes the true seller name.
        blobs: Further blobs (page pictures) as media type and bytes.
    """

    key: str
    name: str
    content: bytes
    media_type: str
    pages: list[Page]
    truth: Truth
    quality: float = 1.0
    language: str | None = None
    vendor: str | None = None
    event_time: datetime | None = None
    blobs: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReaderContext:
    """What every reader may use.

    Attributes:
        folder: Where the corpus lies.
        sandbox: Reads foreign files.
        max_pages: Pages read of one document.
        exclude_folders: Parts of folder names whose documents are quarantined (`fail`: upstream says they break rules).
    """

    folder: Path
    sandbox: Sandbox
    max_pages: int
    exclude_folders: tuple[str, ...] = ()

    def name(self, path: Path) -> str:
        """Path below the corpus folder, with slashes."""
        return path.relative_to(self.folder).as_posix()

    def is_excluded(self, path: Path) -> bool:
        """Whether a folder above the file is on the list of exclusions."""
        parents = path.relative_to(self.folder).parts[:-1]
        return any(word in part for part in parents for word in self.exclude_folders)

    def excluded(self, path: Path) -> Fault:
        """The quarantine record of a file in such a folder."""
        return Fault(
            record=self.name(path),
            source=self.name(path),
            reason="invalid_upstream",
            detail="The corpus marks this file as breaking a business or PDF/A rule, so its XML is no truth.",
        )


Reader = Callable[[ReaderContext], Iterator[Read | Fault]]
