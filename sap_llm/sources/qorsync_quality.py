"""What an exported month is like: counts, nulls, duplicates, referential gaps, columns that drifted, broken records.

Belongs here: counting batches as they pass and the Markdown report. All of it follows from the state of the source
alone, however much of it was read or taken over. Making the rows is `qorsync_assembly`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.sources.corpus import CorpusMetrics
from sap_llm.sources.qorsync_records import CONTRACT, DUPLICATE, KEPT, Drift

_EXAMPLES = 10
_NULL_SHOWN = tuple(name for name in CONTRACT if name != "document_id")
_GAPS = {
    "headers_without_extraction": "extraction",
    "headers_without_file": "blob_bytes",
    "headers_unknown_to_the_graph": "pattern",
}


class Quality:
    """Counts of one month."""

    def __init__(self, drift: Drift) -> None:
        self.drift = drift
        self.rows = 0
        self.missed = 0
        self.outcomes: Counter[str] = Counter()
        self.nulls: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter(dict.fromkeys((*_GAPS, "extractions_without_header"), 0))
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.corpus = CorpusMetrics()

    def of_records(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass the batches of `records` on, counted."""
        for batch in batches:
            self.rows += batch.num_rows
            self.outcomes.update(batch.column("outcome").to_pylist())
            self.missed += pc.sum(batch.column("boxes_without_words")).as_py() or 0
            for name in _NULL_SHOWN:
                self.nulls[name] += batch.column(name).null_count
            for gap, column in _GAPS.items():
                self.gaps[gap] += batch.column(column).null_count
            yield batch

    def of_table(self, table: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass the batches of a corpus table on, counted."""
        count = {
            "documents": self._count_documents,
            "pages": self._count_pages,
            "annotations": self._count_annotations,
            "quarantine": self._count_quarantine,
        }[table]
        for batch in batches:
            count(batch)
            yield batch

    @property
    def is_accounted(self) -> bool:
        """Whether every header that was read is a document, a duplicate or in quarantine, and nothing else is."""
        documents, quarantined = sum(self.corpus.documents.values()), sum(self.corpus.quarantined.values())
        return (
            documents == self.outcomes[KEPT]
            and self.rows == sum(self.outcomes.values())
            and documents + quarantined == self.rows + self.gaps["extractions_without_header"]
        )

    def metrics(self) -> dict[str, Any]:
        """Flat numbers for the manifest and the UI."""
        return {
            "headers": self.rows,
            "duplicates": self.outcomes[DUPLICATE],
            **self.corpus.as_dict(),
            **self.gaps,
            "boxes_without_words": self.missed,
            "drift": str(self.drift) or "none",
            **{f"nulls_{name}": count for name, count in sorted(self.nulls.items()) if count},
        }

    def report(self, month: str) -> str:
        """The report in Markdown."""
        kept, duplicates = self.outcomes[KEPT], self.outcomes[DUPLICATE]
        faulty = self.rows - kept - duplicates
        reasons = {
            f"{reason} ({', '.join(self.examples[reason])}{', ...' if count > _EXAMPLES else ''})": count
            for reason, count in sorted(self.corpus.quarantined.items())
        }
        return "\n\n".join(
            [
                f"# QorSync export of {month}",
                f"{self.rows:,} headers = {kept:,} documents + {duplicates:,} duplicates + {faulty:,} quarantined.",
                f"Columns of the source against the contract: {str(self.drift) or 'as expected'}.",
                _table("referential gap", "records", self.gaps),
                _table("in quarantine (lowest ids)", "records", reasons),
                _table("column", "nulls", {name: self.nulls[name] for name in _NULL_SHOWN}),
                _table("class", "documents", dict(sorted(self.corpus.documents.items()))),
            ]
        )

    def _count_documents(self, batch: pa.RecordBatch) -> None:
        self.corpus.documents.update(batch.column("document_type").to_pylist())

    def _count_pages(self, batch: pa.RecordBatch) -> None:
        self.corpus.pages += batch.num_rows
        self.corpus.words += pc.sum(pc.list_value_length(batch.column("words"))).as_py() or 0

    def _count_annotations(self, batch: pa.RecordBatch) -> None:
        items = pc.list_flatten(batch.column("line_items"))
        fields = [pc.list_flatten(batch.column("fields")), pc.list_flatten(pc.struct_field(items, "fields"))]
        for entries in fields:
            names, printed = pc.struct_field(entries, "field"), pc.is_valid(pc.struct_field(entries, "printed"))
            grouped = pa.table({"name": names, "printed": printed}).group_by("name")
            for row in grouped.aggregate([("printed", "sum"), ("printed", "count")]).to_pylist():
                self.corpus.printed[row["name"]][0] += row["printed_sum"]
                self.corpus.printed[row["name"]][1] += row["printed_count"]

    def _count_quarantine(self, batch: pa.RecordBatch) -> None:
        for row in batch.select(["record", "reason"]).to_pylist():
            reason = row["reason"]
            self.corpus.quarantined[reason] += 1
            self.gaps["extractions_without_header"] += reason == "no_header"
            self.examples[reason] = sorted([*self.examples[reason], row["record"]])[:_EXAMPLES]


def _table(head: str, number: str, rows: Mapping[str, int]) -> str:
    lines = [f"| {name.replace('|', '/')} | {count:,} |" for name, count in rows.items()] or ["| none | 0 |"]
    return "\n".join([f"| {head} | {number} |", "|---|---:|", *lines])
