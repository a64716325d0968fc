"""Reader of e-invoices and e-orders: PDFs with their XML embedded (ZUGFeRD, Factur-X, XRechnung, Order-X).

Belongs here: pairing page and XML. The XML's meaning is `einvoice`; XML files beside the PDFs are `einvoice_files`.
"""

from collections.abc import Iterator
from pathlib import Path

from sap_llm.schema.errors import SapLlmError
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.einvoice import choose_attachment, content_digest, fault_reason, read_truth
from sap_llm.sources.einvoice_files import read_xml_files
from sap_llm.sources.reader import Read, ReaderContext


def read_zugferd(context: ReaderContext) -> Iterator[Read | Fault]:
    """Every PDF below the folder, in order of name, then every XML beside them; without truth: quarantine."""
    embedded: set[str] = set()
    for path in sorted(context.folder.rglob("*.pdf")):
        yield _read(context, path, embedded)
    yield from read_xml_files(context, known=embedded)


def _read(context: ReaderContext, path: Path, embedded: set[str]) -> Read | Fault:
    name = context.name(path)
    if context.is_excluded(path):
        return context.excluded(path)
    content = path.read_bytes()
    try:
        read = context.sandbox.read(content, name=name, max_pages=context.max_pages)
        xml = choose_attachment(context.sandbox.attachments(content, name=name))
        if xml is None:
            return Fault(record=name, source=name, reason="no_xml", detail="The PDF embeds no invoice or order XML.")
        embedded.add(content_digest(xml, name=name))
        truth = read_truth(xml, name=name)
    except SapLlmError as error:
        return Fault(record=name, source=name, reason=fault_reason(error), detail=str(error))
    return Read(
        key=sha256(content),
        name=name,
        content=content,
        media_type=read.media_type,
        pages=read.pages,
        truth=truth,
        quality=read.quality,
    )
