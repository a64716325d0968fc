"""Flat tables that the expectations look at: one row for each document, page, field, sum, date, or key of a split.

Belongs here: how nested columns become the rows and numbers that an expectation can judge, in Arrow and NumPy, batch by
batch. What is expected of them is `expectations`; nothing is judged or thrown away here.

Every view names the columns that say where a row comes from (`Views.ids`). `share_of` is the document's source where
the configuration has shares for it, else `*`. Only truths are flattened: guesses of a model may be wrong.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.preparation.suites.contract import columns_of
from sap_llm.preparation.suites.expectations import CANONICAL, EVERY_OTHER, INTERVALS, SuiteSettings
from sap_llm.preparation.suites.fields import flat_fields
from sap_llm.preparation.suites.pages import PAGE_COLUMNS, flat_pages
from sap_llm.preparation.suites.sums import flat_sums
from sap_llm.schema.errors import SourceError
from sap_llm.schema.releases import TRUTH_SOURCES
from sap_llm.schema.tables import PAGES
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.storage.store import Dataset

VERSION = "2"
"""Raise it when a view comes about in another way: standing verdicts are then judged anew."""

_KEPT_ANNOTATIONS = 20_000  # their fields take about 7 kB each
_DOCUMENT = ("document_id", "source", "share_of", "input", "document_type")
_FIELD_IDS = ("document_id", "source", "annotator", "place", "field", "page")


class Views:
    """The views of one dataset version, each made when it is asked for."""

    def __init__(self, dataset: Dataset, settings: SuiteSettings) -> None:
        self.dataset, self._settings = dataset, settings
        self._makers: Mapping[str, Callable[[], Iterator[pa.Table]]] = {
            "columns": self._columns,
            "documents": self._whole_documents,
            "annotations": self._annotations,
            "classes": self._class_names,
            "field_names": self._field_names,
            "fields": self._fields,
            "values": self._values,
            "pages": self._page_rows,
            "page_counts": self._page_counts,
            "sums": self._sums,
            "dates": self._dates,
            "intervals": self._intervals,
            "split_keys": self._split_keys,
        }

    def ids(self, view: str) -> tuple[str, ...]:
        """Columns that say where a row of the view comes from."""
        return _IDS[view]

    def batches(self, view: str) -> Iterator[pa.Table]:
        """The view in parts; at least one, which may be empty.

        Raises:
            SourceError: A table cannot be read, or lacks what the view is made of.
        """
        try:
            for part in self._makers[view]():
                yield _without_nan(part)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise SourceError(
                f"the view {view} cannot be made of it ({error})",
                where=str(self.dataset.ref),
                remedy="See the gate schema; materialise the dataset, or the corpora that it was made from, again.",
            ) from error

    @cached_property
    def _documents(self) -> pa.Table:
        """What the other views repeat of a document."""
        table = self.dataset.table("documents")
        named = self._settings.named_sources
        shares = [name if name in named else EVERY_OTHER for name in table.column("source").to_pylist()]
        return table.append_column("share_of", pa.array(shares, type=pa.string()))

    @cached_property
    def _pages(self) -> pa.Table:
        """Every page of the documents, from the corpora that the dataset was made from."""
        known = self._documents.select([*_DOCUMENT, "page_count"])
        parts = []
        for name, ref in sorted(self.dataset.manifest.inputs.items()):
            own = known.filter(pc.equal(known.column("input"), name))
            corpus = self.dataset.sibling(ref)
            if not own.num_rows or not corpus.has_table("pages"):
                continue
            for batch in corpus.batches("pages", list(PAGE_COLUMNS)):
                pages = flat_pages(pa.Table.from_batches([batch]))
                parts.append(pages.join(own, keys="document_id", join_type="inner"))
        empty = flat_pages(PAGES.empty_table()).join(known.slice(0, 0), keys="document_id", join_type="inner")
        return pa.concat_tables([empty, *parts])

    def _truths(self, *columns: str) -> Iterator[pa.Table]:
        """Columns of the truths among the annotations, with the documents' source and share_of."""
        known = self._documents.select(["document_id", "source", "share_of"]).rename_columns(
            ["document_id", "document_source", "share_of"]
        )
        for batch in self.dataset.batches("annotations", ["document_id", "source", *columns]):
            table = pa.Table.from_batches([batch])
            table = table.filter(pc.is_in(table.column("source"), value_set=pa.array(TRUTH_SOURCES)))
            index = pc.index_in(table.column("document_id"), value_set=known.column("document_id").combine_chunks())
            about = known.take(index)
            table = table.drop_columns(["source"]).append_column("source", about.column("document_source"))
            yield table.append_column("share_of", about.column("share_of"))

    def _fields(self) -> Iterator[pa.Table]:
        """Fields of all truths; flattened once where they fit into memory, else once for each view of them."""
        is_small = self.dataset.manifest.rows["annotations"] <= _KEPT_ANNOTATIONS
        yield from self._kept_fields if is_small else self._flatten_fields()

    @cached_property
    def _kept_fields(self) -> list[pa.Table]:
        return list(self._flatten_fields())

    def _flatten_fields(self) -> Iterator[pa.Table]:
        sizes = self._pages.select(["document_id", "page_number", "width", "height", "words"])
        for truths in self._truths("annotator", "document_type", "fields", "line_items"):
            yield flat_fields(truths, sizes)

    def _values(self) -> Iterator[pa.Table]:
        """Distinct values of fields whose type has a canonical form, each with one document that has it."""
        keys = ["type", "share_of", "field", "value"]
        typed = pc.field("type").isin(list(CANONICAL))
        parts = [
            flat.filter(typed).group_by(keys).aggregate([("document_id", "min"), ("document_id", "count")])
            for flat in self._fields()
        ]
        grouped = pa.concat_tables(parts).group_by(keys)
        table = grouped.aggregate([("document_id_min", "min"), ("document_id_count", "sum")])
        yield table.rename_columns([*keys, "document_id", "count"])

    def _field_names(self) -> Iterator[pa.Table]:
        """Which fields occur in which class, with one document that has it."""
        parts = [
            flat.group_by(["document_type", "level", "field"]).aggregate([("document_id", "min"), ("field", "count")])
            for flat in self._fields()
        ]
        found = pa.concat_tables(parts).group_by(["document_type", "level", "field"])
        table = found.aggregate([("document_id_min", "min"), ("field_count", "sum")])
        specs = {entry.name: entry for entry in load_taxonomy().fields}
        flags = [
            row["field"] not in specs
            or not specs[row["field"]].classes
            or row["document_type"] in specs[row["field"]].classes
            for row in table.select(["field", "document_type"]).to_pylist()
        ]
        table = table.rename_columns(["document_type", "level", "field", "document_id", "count"])
        yield table.append_column("is_permitted", pa.array(flags, type=pa.bool_()))

    def _class_names(self) -> Iterator[pa.Table]:
        """Classes and subtypes of the truths, with one document that has them."""
        names = ["document_type", "document_subtype"]
        truths = pa.concat_tables(self._truths(*names))
        grouped = truths.group_by(names).aggregate([("document_id", "min"), ("document_id", "count")])
        whole = pc.binary_join_element_wise(grouped.column(names[0]), grouped.column(names[1]), ".")
        yield pa.table(
            {
                "document_type": grouped.column(names[0]),
                "subtype": whole,  # null where there is none
                "document_id": grouped.column("document_id_min"),
                "count": grouped.column("document_id_count"),
            }
        )

    def _annotations(self) -> Iterator[pa.Table]:
        table = self.dataset.table("annotations", columns=["document_id", "annotator", "revision"])
        documents = self._documents.column("document_id").combine_chunks()
        yield table.append_column("has_document", pc.is_in(table.column("document_id"), value_set=documents))

    def _sums(self) -> Iterator[pa.Table]:
        for truths in self._truths("annotator", "fields", "line_items"):
            yield flat_sums(truths)

    def _dates(self) -> Iterator[pa.Table]:
        """Every date of a truth that is one; `ranges` speaks of those that are not."""
        names = [*_FIELD_IDS, "share_of", "value"]
        for flat in self._fields():
            is_day = pc.and_(pc.equal(flat.column("type"), "date"), _is_date(flat.column("value")))
            dates = flat.select(names).filter(is_day)
            yield dates.append_column("day", pc.strptime(dates.column("value"), format="%Y-%m-%d", unit="us"))

    def _intervals(self) -> Iterator[pa.Table]:
        """Days from a first to a second date of one document; the earliest first and the latest second count."""
        for dates in self._dates():
            headers = dates.filter(pc.equal(dates.column("place"), "header"))
            for first, second in INTERVALS:
                begin, end = (headers.filter(pc.equal(headers.column("field"), name)) for name in (first, second))
                keys = ["document_id", "annotator", "source", "share_of"]
                begin = begin.group_by(keys).aggregate([("day", "min")])
                end = end.group_by(keys).aggregate([("day", "max")])
                both = begin.join(end, keys=keys, join_type="inner")
                days = pc.days_between(both.column("day_min"), both.column("day_max"))
                rule = pa.array([f"{first}_{second}"] * both.num_rows, type=pa.string())
                texts = [pc.strftime(both.column(name), format="%Y-%m-%d") for name in ("day_min", "day_max")]
                both = both.select(keys).append_column("rule", rule).append_column("first", texts[0])
                yield both.append_column("second", texts[1]).append_column("days", days)

    def _page_counts(self) -> Iterator[pa.Table]:
        """Pages that a document says it has, and pages that were found."""
        found = self._pages.group_by("document_id").aggregate([("page_number", "count_distinct")])
        table = self._documents.select([*_DOCUMENT, "page_count"]).join(found, keys="document_id")
        counts = pc.fill_null(table.column("page_number_count_distinct"), 0).cast(pa.int16())
        yield table.drop_columns(["page_number_count_distinct"]).append_column("pages_found", counts)

    def _split_keys(self) -> Iterator[pa.Table]:
        """In how many splits a group, a file, a text or a test layout occurs; test layouts also count as test."""
        documents = self._documents
        for kind in ("split_group", "sha256", "text_sha256"):
            yield _splits_of(documents, kind, kind)
        tests = documents.filter(documents.column("is_test_layout")).column("layout").unique().drop_null()
        layouts = documents.filter(pc.is_in(documents.column("layout"), value_set=tests))
        yield _splits_of(layouts, "layout", "test layout")

    def _columns(self) -> Iterator[pa.Table]:
        yield columns_of(self.dataset)

    def _whole_documents(self) -> Iterator[pa.Table]:
        yield self.dataset.table("documents")

    def _page_rows(self) -> Iterator[pa.Table]:
        yield self._pages


_IDS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "columns": ("table", "column"),
        "documents": ("document_id", "input"),
        "annotations": ("document_id", "annotator", "revision"),
        "classes": ("document_type", "document_id", "count"),
        "field_names": ("document_type", "level", "field", "document_id", "count"),
        "fields": (*_FIELD_IDS, "value"),
        "values": ("field", "document_id", "count"),
        "pages": ("document_id", "source", "input", "page_number", "worst_word"),
        "page_counts": ("document_id", "source", "input"),
        "sums": ("document_id", "source", "annotator", "rule", "terms", "currency"),
        "dates": _FIELD_IDS,
        "intervals": ("document_id", "source", "annotator", "rule", "first", "second"),
        "split_keys": ("kind", "key", "document_id"),
    }
)


def _splits_of(documents: pa.Table, column: str, kind: str) -> pa.Table:
    grouped = documents.group_by(column).aggregate([("split", "count_distinct"), ("document_id", "min")])
    return pa.table(
        {
            "kind": pa.array([kind] * grouped.num_rows, type=pa.string()),
            "key": grouped.column(column),
            "document_id": grouped.column("document_id_min"),
            "splits": grouped.column("split_count_distinct"),
        }
    ).filter(pc.is_valid(grouped.column(column)))


def _is_date(values: pa.ChunkedArray) -> pa.ChunkedArray:
    shaped = pc.fill_null(pc.match_substring_regex(values, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), False)
    parsed = pc.strptime(pc.if_else(shaped, values, None), format="%Y-%m-%d", unit="us", error_is_null=True)
    return pc.is_valid(parsed)


def _without_nan(table: pa.Table) -> pa.Table:
    """NaN as null: pandas calls both missing, Spark does not."""
    for index, entry in enumerate(table.schema):
        if pa.types.is_floating(entry.type):
            column = table.column(index)
            clean = pc.if_else(pc.is_nan(column), pa.scalar(None, type=entry.type), column)
            table = table.set_column(index, entry.name, clean)
    return table
