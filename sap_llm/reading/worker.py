"""The reader process: takes one request after the other on standard input, answers on standard output.

Belongs here: the child's side of `sandbox`. It is started as `python -m sap_llm.reading.worker BYTES`, gives up
everything but reading (`confinement`) and trusts no file. Answers are JSON, never pickles, so that a file that takes
over this process cannot make the parent run anything.
"""

import base64
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from sap_llm.reading.confinement import confine, limit_cpu
from sap_llm.schema.errors import MissingToolError, SapLlmError, UnreadableDocumentError

LENGTH = struct.Struct("<QQ")  # bytes of the JSON header and of the content


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until the parent closes the pipe."""
    while True:
        head = source.read(LENGTH.size)
        if len(head) < LENGTH.size:
            return
        header_size, content_size = LENGTH.unpack(head)
        header = json.loads(source.read(header_size))
        content = source.read(content_size)
        limit_cpu(header["seconds"])
        body = json.dumps(_answer(header, content)).encode()
        sink.write(LENGTH.pack(len(body), 0) + body)
        sink.flush()


def _answer(header: dict[str, Any], content: bytes) -> dict[str, Any]:
    name = header["arguments"].get("name", "document")
    try:
        return {"result": _TASKS[header["task"]](content, **header["arguments"])}
    except MemoryError:
        error: SapLlmError = UnreadableDocumentError(
            "reading it needs more memory than allowed",
            where=name,
            remedy="Split or simplify the document.",
        )
    except SapLlmError as caught:
        error = caught
    except Exception as caught:  # noqa: BLE001 - the file is hostile: nothing it raises may end the process
        error = UnreadableDocumentError(
            f"the reader failed ({type(caught).__name__}: {caught})",
            where=name,
            remedy="Export the document again.",
        )
    kind = "missing_tool" if isinstance(error, MissingToolError) else "unreadable"
    return {
        "error": {
            "kind": kind,
            "what": error.what,
            "where": error.where,
            "remedy": error.remedy,
        }
    }


def _read(content: bytes, **arguments: Any) -> dict[str, Any]:
    from sap_llm.reading.document import read_document

    read = read_document(content, **arguments)
    return {
        "pages": [page.to_row("") for page in read.pages],
        "media_type": read.media_type,
        "quality": read.quality,
        "language": read.language,
        "notes": read.notes,
    }


def _attachments(content: bytes, **arguments: Any) -> dict[str, str]:
    from sap_llm.reading.pdf import attachments

    found = attachments(content, **arguments)
    return {name: base64.b64encode(data).decode() for name, data in found.items()}


def _render(content: bytes, **arguments: Any) -> str:
    from sap_llm.reading.document import render_page

    return base64.b64encode(render_page(content, **arguments)).decode()


_TASKS = {"read": _read, "attachments": _attachments, "render": _render}


def main() -> None:
    """Confine this process, then serve."""
    named = os.environ.get("TESSDATA_PREFIX")
    confine(memory_bytes=int(sys.argv[1]), readable=[Path(named)] if named else [])
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not break the protocol
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
