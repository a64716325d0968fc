"""Folders of files that are continued after a stop and never mixed with others.

Belongs here: claiming a folder for one request, and errors of the file system as sentences. Writing a file whole is
`storage.whole`; what the files are is their writer's business (`folder`, `damaged_folder`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.whole import PARTIAL, write_whole

REQUEST = "request.json"


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn the file system's refusals inside the block into an error that names the folder.

    Raises:
        ConfigurationError: The folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"documents cannot be written here ({error.strerror or error})",
            where=str(folder),
            remedy="Name a folder that you may write to, on a disk with room.",
        ) from error


def claim(folder: Path, asked: str) -> None:
    """Make the folder if need be, and write down what it is for, or check that it is for the same.

    Raises:
        ConfigurationError: The folder holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / REQUEST
    if not file.exists():
        if any(path.suffix != PARTIAL for path in folder.iterdir()):
            raise ConfigurationError(
                "the folder holds other files", where=str(folder), remedy="Name an empty or a new folder."
            )
        write_whole(file, asked.encode())
    elif file.read_text(encoding="utf-8") != asked:
        raise ConfigurationError(
            "the folder holds documents that were made with other arguments, configuration or version",
            where=str(file),
            remedy="Repeat those arguments to continue, or name another folder.",
        )
    for leftover in folder.glob(f"*{PARTIAL}"):
        leftover.unlink()
