"""Readers of XML documents without a page: XRechnung, EN 16931 examples, Peppol, and the XML beside e-invoice PDFs.

Belongs here: which files of a folder are documents, and why others are not. An XML has no page and none is invented:
its record has page count 0 and a truth, good for statistics and twins; annotation, and so training and evaluation,
leave it out (`annotation.stage`). The XML's meaning is `einvoice`.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from sap_llm.reading.language import detect_language
from sap_llm.schema.errors import SapLlmError
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.einvoice import content_digest, fault_reason, read_truth
from sap_llm.sources.reader import Read, ReaderContext

XML_MEDIA_TYPE = "application/xml"
_EDIFACT = (b"UNA", b"UNB")  # how an EDIFACT interchange begins
_SUFFIXES = (".xml", ".txt")


def read_xml_folder(context: ReaderContext) -> Iterator[Read | Fault]:
    """Every XML and EDIFACT file below the folder, in order of name; what is no document goes to quarantine."""
    yield from read_xml_files(context, known=())


def read_xml_files(context: ReaderContext, *, known: Collection[str]) -> Iterator[Read | Fault]:
    """The same, without those whose content was already read.

    Args:
        context: Where the corpus lies.
        known: `content_digest` of every XML that a PDF embeds.
    """
    for path in sorted(path for path in context.folder.rglob("*") if path.suffix.lower() in _SUFFIXES):
        yield _read(context, path, known)


def _read(context: ReaderContext, path: Path, known: Collection[str]) -> Read | Fault:
    name = context.name(path)
    if context.is_excluded(path):
        return context.excluded(path)
    content = path.read_bytes()
    if content.lstrip().startswith(_EDIFACT):
        return Fault(
            record=name,
            source=name,
            reason="no_mapping",
            detail="EDIFACT; its segments are not mapped to the taxonomy.",
        )
    try:
        if content_digest(content, name=name) in known:
            return Fault(
                record=name,
                source=name,
                reason="embedded",
                detail="A PDF of the corpus embeds this XML; it is read there.",
            )
        truth = read_truth(content, name=name)
    except SapLlmError as error:
        return Fault(record=name, source=name, reason=fault_reason(error), detail=str(error))
    words = [word for record in (truth.header, *truth.lines) for value in record.values() for word in value.split()]
    return Read(
        key=sha256(content),
        name=name,
        content=content,
        media_type=XML_MEDIA_TYPE,
        pages=[],
        truth=truth,
        language=detect_language(words),
    )
