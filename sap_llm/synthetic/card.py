"""The card of a dataset of synthetic documents: what was made, in which layouts and tiers, what was refused, and pages.

Belongs here: counting documents for people, writing Markdown, choosing the pages of the picture. The numbers that the
UI plots are `stage`; drawing is `evaluation.pictures`; how the card is shown is `resources.results`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.evaluation.pictures import TRUTH, Shown, page_sheet
from sap_llm.reading.pdf import render_page
from sap_llm.schema.markdown import table
from sap_llm.schema.page import Page

REPORT = "report.md"
PAGES = "pages.png"
_MOST_PAGES, _ACROSS = 8, 4
_CELL = (236, 330)  # pixels of one page on the sheet


def card(name: str, documents: pa.Table, reasons: Mapping[str, int], tiers: Mapping[str, int]) -> str:
    """The card as Markdown; it refers to the picture `PAGES` where there is a document.

    Args:
        name: Of the dataset.
        documents: The table of the corpus.
        reasons: Refused documents by why.
        tiers: Documents by the tier that set them.
    """
    classes = Counter(documents.column("document_type").to_pylist())
    parts = [
        f"# {name}\n\nDocuments of the simulator; every value is true by construction.",
        table(("measure", "value"), _measures(documents, reasons, tiers).items()),
        "## Classes and languages\n\n" + _by_language(documents, classes) if classes else "",
        "## Refused\n\n" + table(("reason", "documents"), sorted(reasons.items())) if reasons else "",
        f"## Pages with the true boxes of their fields\n\n![pages]({PAGES})" if classes else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def picture(documents: pa.Table, parts: Callable[[str], Iterable[pa.Table]]) -> bytes | None:
    """First pages of up to eight documents of different classes and worlds; None where there is no document.

    Args:
        documents: The table of the corpus.
        parts: Name of another table of the corpus to its parts; only the rows of the chosen documents are kept.
    """
    chosen = _chosen(documents)
    if not chosen:
        return None
    ids, files = ([row[key] for row in chosen] for key in ("document_id", "sha256"))
    first = {row["document_id"]: row for row in _rows(parts("pages"), "document_id", ids) if row["page_number"] == 1}
    truth = {row["document_id"]: row for row in _rows(parts("annotations"), "document_id", ids)}
    content = {row["sha256"]: row["content"] for row in _rows(parts("blobs"), "sha256", files)}
    shown = [_shown(first[name], truth[name], content[file]) for name, file in zip(ids, files, strict=True)]
    return page_sheet(shown, across=_ACROSS, cell=_CELL)


def _rows(parts: Iterable[pa.Table], key: str, values: Sequence[str]) -> list[dict[str, Any]]:
    wanted = pc.field(key).isin(list(values))
    return [row for part in parts for row in part.filter(wanted).to_pylist()]


def _measures(documents: pa.Table, reasons: Mapping[str, int], tiers: Mapping[str, int]) -> dict[str, object]:
    count = max(1, documents.num_rows)
    pages = documents.column("page_count").to_pylist()
    tested = sum(documents.column("is_test_layout").to_pylist())
    made = sum(tiers.values()) or 1
    return {
        "documents": f"{documents.num_rows:,}",
        "pages": f"{sum(pages):,}, up to {max(pages, default=0)} a document",
        "worlds": len(set(documents.column("split_group").to_pylist())),
        "layouts": len(set(documents.column("layout").to_pylist())),
        "in layouts reserved for tests": f"{tested:,} ({tested / count:.1%})",
        **{f"set by the {tier} tier": f"{number:,} ({number / made:.1%})" for tier, number in sorted(tiers.items())},
        "refused": f"{sum(reasons.values()):,}",
    }


def _by_language(documents: pa.Table, classes: Counter[str]) -> str:
    counts = Counter(
        zip(documents.column("document_type").to_pylist(), documents.column("language").to_pylist(), strict=True)
    )
    languages = sorted({language for _, language in counts})
    rows = [
        (name.lower(), *(counts[name, language] for language in languages), total)
        for name, total in sorted(classes.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    return table(("class", *languages, "all"), rows)


def _chosen(documents: pa.Table) -> list[dict[str, str]]:
    """Documents of as many classes as there is room for, each of another world while there are any."""
    columns = ["document_id", "document_type", "split_group", "sha256"]
    rows = documents.select(columns).sort_by("document_id").to_pylist()  # ids are hashes: the first are a fair sample
    chosen: list[dict[str, str]] = []
    for keys in (("document_type", "split_group"), ("document_type",), ("split_group",), ("document_id",)):
        for row in rows:
            if len(chosen) == _MOST_PAGES:
                return chosen
            if all(row[key] != one[key] for one in chosen for key in keys):
                chosen.append(row)
    return chosen


def _shown(first: Mapping[str, Any], truth: Mapping[str, Any], content: bytes) -> Shown:
    fields = [*truth["fields"], *(field for item in truth["line_items"] for field in item["fields"])]
    boxes = [("", field["box"], TRUTH) for field in fields if field["page"] == 1 and field["box"]]
    return Shown(Page.from_row(first), boxes, lambda scale: render_page(content, scale=scale))
