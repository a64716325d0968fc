"""Reader of e-invoices and e-orders: PDFs with their XML embedded (ZUGFeRD, Factur-X, XRechnung, Order-X).

Belongs here: pairing page and XML. The XML's meaning is `einvoice`.
"""

from collections.abc import Iterator
from pathlib import Path

from sap_llm.schema.errors import SapLlmError
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.einvoice import choose_attachment, read_truth
from sap_llm.sources.reader import Read, ReaderContext

LICENCE = "Apache-2.0"


def read_zugferd(context: ReaderContext) -> Iterator[Read | Fault]:
    """Every PDF below the folder, in order of name; those without readable XML go to quarantine."""
    for path in sorted(context.folder.rglob("*.pdf")):
        yield _read(context, path)


def _read(context: ReaderContext, path: Path) -> Read | Fault:
    name = context.name(path)
    if context.is_excluded(path):
        return Fault(
            record=name,
            source=name,
            reason="invalid_upstream",
            detail="The corpus marks this file as breaking a business or PDF/A rule, so its XML is no truth.",
        )
    content = path.read_bytes()
    try:
        read = context.sandbox.read(content, name=name, max_pages=context.max_pages)
        xml = choose_attachment(context.sandbox.attachments(content, name=name))
        if xml is None:
            return Fault(record=name, source=name, reason="no_xml", detail="The PDF embeds no invoice or order XML.")
        truth = read_truth(xml, name=name)
    except SapLlmError as error:
        return Fault(record=name, source=name, reason=_reason(error), detail=str(error))
    return Read(
        key=sha256(content),
        name=name,
        content=content,
        media_type=read.media_type,
        pages=read.pages,
        truth=truth,
        quality=read.quality,
        licence=LICENCE,
    )


def _reason(error: SapLlmError) -> str:
    return {"UnreadableDocumentError": "unreadable", "MissingToolError": "needs_ocr"}.get(
        type(error).__name__, "bad_xml"
    )
