"""Which documents are too poor to be worth keeping: bounds from the configuration, each refusal a quarantine record.

Belongs here: rules on a document as it was read. What makes a whole corpus unfit is judged by the suites of
`preparation`; near-duplicates are kept and grouped (`near_duplicates`).
"""

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.sources.corpus import Fault, SourceDocument
from sap_llm.sources.labels import LABELS


class DocumentFilters(BaseModel):
    """`filters` of `configs/<profile>/public_docs.yaml`; the bounds of pages do not ask for documents without any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_quality: float = Field(default=0.0, description="of the reading; below it the document is refused", ge=0, le=1)
    min_characters: int = Field(default=0, description="on all pages together, spaces aside", ge=0)
    most_pages: int = Field(default=0, description="0 for no bound", ge=0)
    languages: tuple[str, ...] = Field(default=(), description="ISO 639-1; empty for all. Unknown ones are kept")
    needs_truth: bool = Field(default=False, description="refuse documents whose truth is but the class")
    min_printed_share: float = Field(
        default=0.5, description="of labelled header values; below it the truth is about another document", ge=0, le=1
    )


def refusal(document: SourceDocument, filters: DocumentFilters) -> Fault | None:
    """The first rule that a document breaks, as a quarantine record; None if it may stay."""
    broken = _page_rule(document, filters) if document.pages else None
    return broken or _language_rule(document, filters) or _truth_rule(document, filters)


def _page_rule(document: SourceDocument, filters: DocumentFilters) -> Fault | None:
    if document.quality < filters.min_quality:
        return _fault(
            document, "low_quality", f"Reading quality {document.quality:.2f} is below {filters.min_quality:.2f}."
        )
    characters = sum(len(word) for page in document.pages for word in page.words)
    if characters < filters.min_characters:
        return _fault(document, "short_text", f"{characters} characters are fewer than {filters.min_characters}.")
    if filters.most_pages and len(document.pages) > filters.most_pages:
        return _fault(document, "too_many_pages", f"{len(document.pages)} pages are more than {filters.most_pages}.")
    return None


def _language_rule(document: SourceDocument, filters: DocumentFilters) -> Fault | None:
    if not filters.languages or document.language in (None, *filters.languages):
        return None
    return _fault(document, "language", f"{document.language} is none of {', '.join(filters.languages)}.")


def _truth_rule(document: SourceDocument, filters: DocumentFilters) -> Fault | None:
    if filters.needs_truth and not document.truth.header and not document.truth.lines:
        return _fault(document, "no_truth", "The source states the class only, no field.")
    fields = [field for field in document.aligned.fields if field["field"] in LABELS]  # what labels announce on paper
    printed = sum(field["printed"] is not None for field in fields)
    if not document.pages or printed >= filters.min_printed_share * len(fields):
        return None
    return _fault(
        document,
        "truth_mismatch",
        f"Only {printed} of {len(fields)} true header values are printed: the truth describes another document.",
    )


def _fault(document: SourceDocument, reason: str, detail: str) -> Fault:
    return Fault(
        record=document.document_id, source=document.name, reason=reason, detail=detail, payload=document.truth.header
    )
