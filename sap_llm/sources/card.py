"""The card of one public corpus: what it holds, its licence, how much of its truth is printed, what was refused.

Belongs here: counting documents for people and writing Markdown. The numbers that the UI plots are `corpus`; how the
card is shown is `resources.results`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sap_llm.evaluation.pictures import TRUTH, Shown, page_sheet
from sap_llm.schema.markdown import table
from sap_llm.sources.catalogue import CorpusFacts
from sap_llm.sources.corpus import UNPRINTED, Fault, SourceDocument

PAGES = "pages.png"
PICTURE_HEADING = "## Pages as they were read"
_MOST_LISTED = 40
_MOST_PAGES, _ACROSS = 6, 3
_CELL = (210, 280)  # pixels of one page on the sheet
_QUALITY_STEPS = (0.0, 0.5, 0.8, 0.95, 1.0)


def card(
    name: str,
    facts: CorpusFacts,
    documents: Sequence[SourceDocument],
    faults: Sequence[Fault],
    *,
    near_duplicates: Sequence[int],
) -> str:
    """The card as Markdown; it refers to the picture `PAGES` where a document has a page.

    Args:
        name: Of the corpus.
        facts: Its entry in the catalogue.
        documents: Those that were kept.
        faults: Those that were not.
        near_duplicates: Sizes of the groups that texts alone make.
    """
    shown = [document for document in documents if document.pages]
    parts = [
        f"# {name}\n\n{facts.title}.",
        f"Licence: **{facts.licence}** ({facts.terms}). Role: **{facts.role}**. Origin: {facts.origin}.",
        table(("measure", "value"), {**_counts(documents, faults), **_groups(documents, near_duplicates)}.items()),
        "## Classes and languages\n\n"
        + table(("class", "documents"), _by(doc.truth.document_type for doc in documents)),
        table(("language", "documents"), _by(doc.language or "unknown" for doc in documents)),
        table(("reading quality", "documents"), _qualities(shown).items()) if shown else "",
        _fields(documents),
        _unprinted(shown),
        _refused(faults),
        f"{PICTURE_HEADING}\n\n![pages]({PAGES})" if shown else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def picture(documents: Sequence[SourceDocument]) -> bytes | None:
    """Up to six first pages as they were read, the words that show true values framed; None without any page."""
    shown = [document for document in documents if document.pages]
    if not shown:
        return None
    chosen = [
        shown[index * len(shown) // min(_MOST_PAGES, len(shown))] for index in range(min(_MOST_PAGES, len(shown)))
    ]
    return page_sheet([_shown(document) for document in chosen], across=_ACROSS, cell=_CELL)


def _shown(document: SourceDocument) -> Shown:
    page = document.pages[0]
    fields = [*document.aligned.fields, *(field for item in document.aligned.line_items for field in item["fields"])]
    return Shown(page, [("", field["box"], TRUTH) for field in fields if field["page"] == page.page_number])


def _counts(documents: Sequence[SourceDocument], faults: Sequence[Fault]) -> dict[str, object]:
    printed, stated = _printed(documents)
    return {
        "read": len(documents) + len(faults),
        "kept": len(documents),
        "refused": len(faults),
        "without a page": sum(not document.pages for document in documents),
        "pages": sum(len(document.pages) for document in documents),
        "words": f"{sum(len(page.words) for document in documents for page in document.pages):,}",
        "true values that words show": f"{printed:,} of {stated:,}" + (f" ({printed / stated:.1%})" if stated else ""),
    }


def _groups(documents: Sequence[SourceDocument], near_duplicates: Sequence[int]) -> dict[str, object]:
    groups = Counter(document.split_group for document in documents)
    return {
        "groups that no split divides": len(groups),
        "documents in the largest group": max(groups.values(), default=0),
        "near-duplicate groups": f"{len(near_duplicates)}, with {sum(near_duplicates)} documents",
    }


def _printed(documents: Iterable[SourceDocument]) -> tuple[int, int]:
    found = [counts for document in documents if document.pages for counts in document.aligned.found.values()]
    return sum(printed for printed, _ in found), sum(stated for _, stated in found)


def _by(values: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(values).items(), key=lambda entry: (-entry[1], entry[0]))


def _qualities(documents: Sequence[SourceDocument]) -> dict[str, int]:
    """Documents by reading quality, in steps."""
    steps = list(zip(_QUALITY_STEPS, (*_QUALITY_STEPS[1:], 2.0), strict=True))
    counts = {(low, high): sum(low <= document.quality < high for document in documents) for low, high in steps}
    return {f"{low:g} to {high:g}" if high <= 1 else "1": count for (low, high), count in counts.items() if count}


def _fields(documents: Sequence[SourceDocument]) -> str:
    stated: Counter[str] = Counter()
    on_pages: Counter[str] = Counter()
    printed: Counter[str] = Counter()
    for document in documents:
        for name, (hits, all_) in document.aligned.found.items():
            stated[name] += all_
            if document.pages:
                on_pages[name] += all_
                printed[name] += hits
    rows = [
        (name, count, f"{printed[name]} of {on_pages[name]}" if on_pages[name] else "no page")
        for name, count in sorted(stated.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    return "## Fields\n\n" + table(("field", "stated", "printed"), rows) if rows else ""


def _unprinted(documents: Sequence[SourceDocument]) -> str:
    entries = [(document.name, entry) for document in documents for entry in document.aligned.unprinted()]
    listed = [(name, entry) for name, entry in entries if entry.reason != "code"]
    if not entries:
        return ""
    rows = [(name, entry.line or "", entry.field, entry.value[:60], entry.reason) for name, entry in listed]
    note = (
        f"\n\nThe first {_MOST_LISTED} of {len(listed)}; all are in `{UNPRINTED}`." if len(rows) > _MOST_LISTED else ""
    )
    return (
        "## True values that no words show\n\n"
        + table(("reason", "values"), _by(entry.reason for _, entry in entries))
        + "\n\n"
        + table(("document", "line", "field", "value", "reason"), rows[:_MOST_LISTED])
        + note
    )


def _refused(faults: Sequence[Fault]) -> str:
    if not faults:
        return ""
    example: Mapping[str, Fault] = {fault.reason: fault for fault in reversed(faults)}
    rows = [
        (reason, count, f"{example[reason].source}: {example[reason].detail}")
        for reason, count in _by(fault.reason for fault in faults)
    ]
    return "## Refused\n\n" + table(("reason", "records", "for example"), rows)
