"""Reading foreign files in a process of its own, with limits on time and memory.

Belongs here: the parent's side; the child is `worker`. A file that hangs, crashes or eats memory costs that file only:
the child is replaced and the caller gets an `UnreadableDocumentError`.
"""

import base64
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from sap_llm.reading.document import DEFAULT_MAX_PAGES, ReadDocument
from sap_llm.reading.worker import LENGTH
from sap_llm.schema.errors import MissingToolError, UnreadableDocumentError
from sap_llm.schema.page import Page

DEFAULT_TIMEOUT_SECONDS = 60.0
DEFAULT_MEMORY_BYTES = 4 * 2**30
_MAX_ANSWER_BYTES = 512 * 2**20
_PIECE_BYTES = 2**20
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TESSDATA_PREFIX")  # nothing that could be a secret
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"}


class Sandbox:
    """One reader process, kept alive over many files. Not for several threads at once."""

    def __init__(
        self,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        self.timeout_seconds, self.memory_bytes = timeout_seconds, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, content: bytes, *, name: str, max_pages: int = DEFAULT_MAX_PAGES) -> ReadDocument:
        """`document.read_document` in the child.

        Raises:
            UnreadableDocumentError: The file cannot be read within the limits.
            MissingToolError: Only OCR could read it, and it is not installed.
        """
        found = self._ask("read", content, name=name, max_pages=max_pages)
        return ReadDocument(
            pages=[Page.from_row(row) for row in found["pages"]],
            media_type=found["media_type"],
            quality=found["quality"],
            language=found["language"],
            notes=tuple(found["notes"]),
        )

    def attachments(self, content: bytes, *, name: str) -> dict[str, bytes]:
        """`pdf.attachments` in the child; raises like `read`."""
        found = self._ask("attachments", content, name=name)
        return {key: base64.b64decode(data) for key, data in found.items()}

    def render(self, content: bytes, page_number: int = 1, scale: float = 1.0, *, name: str = "document") -> bytes:
        """`document.render_page` in the child; raises like `read`."""
        return base64.b64decode(self._ask("render", content, name=name, page_number=page_number, scale=scale))

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, task: str, content: bytes, **arguments: Any) -> Any:
        header = {"task": task, "arguments": arguments, "seconds": self.timeout_seconds}
        name = arguments["name"]
        try:
            answer = json.loads(self._answer(json.dumps(header).encode(), content))
            error = answer.get("error")
            if error is None:
                return answer["result"]
            error_type = MissingToolError if error.pop("kind") == "missing_tool" else UnreadableDocumentError
            raised = error_type(error.pop("what"), **error)
        except TimeoutError:
            self.close()
            raise UnreadableDocumentError(
                f"reading took longer than {self.timeout_seconds:g} s",
                where=name,
                remedy="Split the document, or raise the time limit.",
            ) from None
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise UnreadableDocumentError(
                f"the reader process crashed on this file{self._ending()}",
                where=name,
                remedy="Export the document again; if it is very large, split it.",
            ) from fault
        except BaseException:  # interrupted in the middle of an answer: the next one would be out of step
            self.close()
            raise
        raise raised

    def _answer(self, header: bytes, content: bytes) -> bytes:
        """The child's answer; one that died since its last answer is replaced, which is not this file's fault."""
        request = LENGTH.pack(len(header), len(content)) + header + content
        deadline = time.monotonic() + self.timeout_seconds
        is_new = self._process is None
        try:
            _send(self._started(), request, deadline)
        except BrokenPipeError:
            if is_new:
                raise
            self.close()
            _send(self._started(), request, deadline)
        return _receive(self._started(), deadline)

    def _ending(self) -> str:
        """How the child ended, and the end of it."""
        process = self._process
        self.close()
        code = process.returncode if process is not None else None
        is_signal = code is not None and code < 0 and -code != signal.SIGKILL
        return f" ({signal.Signals(-code).name})" if is_signal and code else ""

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            package = str(Path(__file__).parents[2])
            path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sap_llm.reading.worker", str(self.memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={
                    **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                    **_ENVIRONMENT,
                    "PYTHONPATH": path,
                },
                start_new_session=True,
            )
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)
        return self._process


def read_in_sandbox(
    content: bytes,
    *,
    name: str,
    max_pages: int = DEFAULT_MAX_PAGES,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> ReadDocument:
    """Read one document in a process of its own; see `Sandbox.read`."""
    with Sandbox(timeout_seconds=timeout_seconds, memory_bytes=memory_bytes) as sandbox:
        return sandbox.read(content, name=name, max_pages=max_pages)


def _send(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> None:
    assert process.stdin is not None
    descriptor = process.stdin.fileno()
    rest = memoryview(request)
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_WRITE)
        while rest:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            rest = rest[os.write(descriptor, rest[:_PIECE_BYTES]) :]


def _receive(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None
    size, _ = LENGTH.unpack(_exactly(process.stdout, LENGTH.size, deadline))
    if size > _MAX_ANSWER_BYTES:
        raise ValueError(f"answer of {size} bytes")
    return _exactly(process.stdout, size, deadline)


def _exactly(stream: IO[bytes], size: int, deadline: float) -> bytes:
    parts = bytearray()
    descriptor = stream.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while len(parts) < size:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(descriptor, min(size - len(parts), _PIECE_BYTES))
            if not part:
                raise EOFError
            parts += part
    return bytes(parts)
