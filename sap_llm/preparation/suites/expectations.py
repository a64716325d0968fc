"""What is expected of the release datasets, as data: one list of expectations for each group of each dataset.

Belongs here: which expectations a group has and where their bounds come from (schema, taxonomy, configuration). How the
flat tables come about is `views`, how Great Expectations judges them is `engine`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from sap_llm.preparation.splits import SPLITS
from sap_llm.registry.gates import CLASSES, DATES, GEOMETRY, IDENTITY, MONEY, RANGES, SCHEMA, SPLITS_DISJOINT
from sap_llm.schema.releases import ANNOTATED_DOCUMENTS, RELEASE_DOCUMENTS, TRAINING_DOCUMENTS, TRUTH_SOURCES
from sap_llm.schema.taxonomy import load_taxonomy

DOCUMENT_ID = r"^doc-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SHA256 = r"^[0-9a-f]{64}$"
LANGUAGE = r"^[a-z]{2}$"
NOT_BLANK = r"\S"
CANONICAL: Mapping[str, str] = MappingProxyType(
    {
        "amount": r"^-?[0-9]+\.[0-9]{2,}$",
        "quantity": r"^-?[0-9]+(?:\.[0-9]+)?$",
        "percent": r"^-?[0-9]+(?:\.[0-9]+)?$",
        "integer": r"^-?[0-9]+$",
        "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        "currency": r"^[A-Z]{3}$",
        "country": r"^[A-Z]{2}$",
        "iban": r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}$",
        "bic": r"^[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?$",
    }
)
"""Taxonomy type -> what its canonical values look like, as `schema.values` writes them."""

ROLES = ("train", "develop", "test_only")
EVERY_OTHER = "*"
SUM_RULES = ("net_and_tax", "lines", "allowances_and_charges", "lines_and_net", "payable")
INTERVALS: tuple[tuple[str, str], ...] = (
    ("document_date", "due_date"),
    ("valid_from", "valid_to"),
    ("period_start", "period_end"),
)
"""Pairs of date fields of which the second is never before the first."""

_LARGEST_PAGE_POINTS = 14_400  # 200 inches, the largest page of PDF 1.7


class SuiteSettings(BaseModel):
    """The key `suites` of `configs/<profile>/gates.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["pandas", "spark"] = Field(
        default="pandas", description="what runs the expectations; the verdict is the same"
    )
    earliest_date: date = Field(default=date(1990, 1, 1), description="no date on a document is before it")
    latest_date: date = Field(default=date(2049, 12, 31), description="nor after it; validity may end far ahead")
    tolerance_units: float = Field(
        default=1.0, description="sums may be off by so many smallest units of the currency", ge=0
    )
    tolerance_points: float = Field(default=1.0, description="boxes may stand out of their page by it", ge=0)
    most_characters: int = Field(default=200_000, description="on one page; more is no document", ge=1)
    longest_value: int = Field(default=10_000, description="characters of one field's value", ge=1)
    min_shares: dict[str, dict[str, float]] = Field(
        default={EVERY_OTHER: {"synthetic": 1.0, EVERY_OTHER: 0.9}, "inside_page": {EVERY_OTHER: 1.0}},
        description="rule or group -> source -> share of rows that must hold; * stands for every other one",
    )

    @property
    def named_sources(self) -> frozenset[str]:
        """Sources with a share of their own."""
        return frozenset(source for shares in self.min_shares.values() for source in shares if source != EVERY_OTHER)

    def shares_of(self, *names: str) -> dict[str, float]:
        """Source -> share for the first of the names (rule, then group) that is configured; every source is there."""
        found: dict[str, float] = dict.fromkeys((*self.named_sources, EVERY_OTHER), 1.0)
        for name in (EVERY_OTHER, *reversed(names)):
            found |= self.min_shares.get(name, {})
        return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expectation: its name in Great Expectations, its arguments and the view that it is about."""

    type: str  # e.g. expect_column_values_to_be_unique
    view: str = "documents"
    column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)  # column -> value: only such rows are looked at


def expectations_of(dataset: str, group: str, settings: SuiteSettings) -> list[Expectation]:
    """The expectations of one group of a dataset (`training_set`); KeyError where it has no such group."""
    return list(_GROUPS[dataset][group](settings))


def _schema_group(schema: pa.Schema) -> Callable[[SuiteSettings], Iterator[Expectation]]:
    """Columns and types of the contract; required columns hold values."""

    def expectations(_: SuiteSettings) -> Iterator[Expectation]:
        yield Expectation(
            type="expect_column_pair_values_to_be_equal",
            view="columns",
            arguments={"column_A": "type", "column_B": "expected_type", "ignore_row_if": "neither"},
        )
        yield Expectation(type="expect_table_row_count_to_be_between", arguments={"min_value": 1})
        for entry in schema:
            if not entry.nullable:
                yield _values(entry.name, "not_be_null")

    return expectations


def _identity(_: SuiteSettings) -> Iterator[Expectation]:
    yield _values("document_id", "be_unique")
    yield _values("document_id", "match_regex", regex=DOCUMENT_ID)
    yield _values("input", "match_regex", regex=NOT_BLANK)


def _identity_of_files(settings: SuiteSettings) -> Iterator[Expectation]:
    yield from _identity(settings)
    yield _values("sha256", "match_regex", regex=SHA256)
    yield _values("split_group", "match_regex", regex=NOT_BLANK)


def _identity_of_pages(settings: SuiteSettings) -> Iterator[Expectation]:
    yield from _identity_of_files(settings)
    yield Expectation(
        type="expect_compound_columns_to_be_unique",
        view="pages",
        arguments={"column_list": ["document_id", "page_number"]},
    )
    yield _values("has_document", "be_in_set", view="annotations", value_set=[True])
    yield Expectation(
        type="expect_compound_columns_to_be_unique",
        view="annotations",
        arguments={"column_list": ["document_id", "annotator", "revision"]},
    )


def _identity_of_training(settings: SuiteSettings) -> Iterator[Expectation]:
    yield from _identity_of_files(settings)
    yield _values("sha256", "be_unique")
    yield _values("text_sha256", "match_regex", regex=SHA256)


def _classes(_: SuiteSettings) -> Iterator[Expectation]:
    yield _values("document_type", "be_in_set", value_set=[entry.name for entry in load_taxonomy().classes])
    yield _values("role", "be_in_set", value_set=list(ROLES))
    yield _values("language", "match_regex", regex=LANGUAGE)


def _classes_of_truth(settings: SuiteSettings) -> Iterator[Expectation]:
    taxonomy = load_taxonomy()
    yield from _classes(settings)
    yield _values("truth_source", "be_in_set", value_set=list(TRUTH_SOURCES))
    yield _values("truth_source", "not_be_null", where={"has_truth": True})
    # The tables of distinct names are short, whatever the number of documents.
    yield _values("document_type", "be_in_set", view="classes", value_set=[entry.name for entry in taxonomy.classes])
    yield _values("subtype", "be_in_set", view="classes", value_set=_subtypes())
    for level in ("header", "line"):
        names = [entry.name for entry in taxonomy.fields if entry.level == level]
        yield _values("field", "be_in_set", view="field_names", where={"level": level}, value_set=names)
    yield _values("is_permitted", "be_in_set", view="field_names", value_set=[True])


def _classes_of_training(settings: SuiteSettings) -> Iterator[Expectation]:
    yield from _classes(settings)
    yield _values("has_truth", "be_in_set", value_set=[True])


def _subtypes() -> list[str]:
    return [f"{entry.name}.{subtype.name}" for entry in load_taxonomy().classes for subtype in entry.subtypes]


def _ranges(settings: SuiteSettings) -> Iterator[Expectation]:
    yield _values("quality", "be_between", min_value=0, max_value=1)
    yield _values("page_count", "be_between", min_value=1)
    yield _values("confidence", "be_between", min_value=0, max_value=1)
    yield _values("confidence", "be_between", view="fields", min_value=0, max_value=1)
    yield _values("quality", "be_between", view="pages", min_value=0, max_value=1)
    yield _values("characters", "be_between", view="pages", max_value=settings.most_characters)
    yield _values("value_length", "be_between", view="fields", max_value=settings.longest_value)
    for kind, pattern in CANONICAL.items():
        canonical = _values("value", "match_regex", view="values", where={"type": kind}, regex=pattern)
        yield from _by_source(canonical, settings.shares_of(kind, RANGES))


def _ranges_of_training(_: SuiteSettings) -> Iterator[Expectation]:
    """Source of the bounds: roadmap, month 4."""
    yield _values("quality", "be_between", min_value=0.8, max_value=1, strict_min=True)
    yield _values("page_count", "be_between", min_value=1, max_value=50)
    yield _values("word_count", "be_between", min_value=1)
    yield _values("character_count", "be_between", min_value=100, strict_min=True)
    yield _values("digit_share", "be_between", min_value=0, max_value=1)
    yield _values("upper_share", "be_between", min_value=0, max_value=1)


def _money(settings: SuiteSettings) -> Iterator[Expectation]:
    most = settings.tolerance_units
    for rule in SUM_RULES:
        expectation = _values(
            "difference_units", "be_between", view="sums", where={"rule": rule}, min_value=-most, max_value=most
        )
        yield from _by_source(expectation, settings.shares_of(rule, MONEY))


def _geometry(settings: SuiteSettings) -> Iterator[Expectation]:
    most = settings.tolerance_points
    yield _pair("page_count", "pages_found", view="page_counts")
    for side in ("width", "height"):
        yield _values(side, "be_between", view="pages", min_value=0, strict_min=True, max_value=_LARGEST_PAGE_POINTS)
    for side in ("boxes", "lines"):
        yield _pair("words", side, view="pages")
    yield _values("bad_boxes", "be_between", view="pages", max_value=0)
    for view in ("pages", "fields"):
        inside = _values("outside_points", "be_between", view=view, max_value=most)
        yield from _by_source(inside, settings.shares_of("inside_page", GEOMETRY))
    yield _values("is_page", "be_in_set", view="fields", value_set=[True])
    yield _values("is_box", "be_in_set", view="fields", value_set=[True])
    yield _values("first_word", "be_between", view="fields", min_value=0)
    yield _values("words_beyond", "be_between", view="fields", max_value=0)


def _dates(settings: SuiteSettings) -> Iterator[Expectation]:
    earliest, latest = (datetime.combine(day, time()) for day in (settings.earliest_date, settings.latest_date))
    plausible = _values("day", "be_between", view="dates", min_value=earliest, max_value=latest)
    yield from _by_source(plausible, settings.shares_of("plausible_date", DATES))
    for first, second in INTERVALS:
        rule = f"{first}_{second}"
        in_order = _values("days", "be_between", view="intervals", where={"rule": rule}, min_value=0)
        yield from _by_source(in_order, settings.shares_of(rule, DATES))


def _splits(_: SuiteSettings) -> Iterator[Expectation]:
    yield _values("split", "be_in_set", value_set=list(SPLITS))
    yield Expectation(
        type="expect_column_distinct_values_to_contain_set", column="split", arguments={"value_set": ["train"]}
    )
    yield _values("split", "be_in_set", where={"role": "test_only"}, value_set=["test"])
    yield _values("split", "be_in_set", where={"is_test_layout": True}, value_set=["test"])
    yield _values("split", "be_in_set", where={"role": "develop"}, value_set=["validation", "test"])
    yield _values("splits", "be_between", view="split_keys", min_value=1, max_value=1)


def _by_source(expectation: Expectation, shares: Mapping[str, float]) -> Iterator[Expectation]:
    """The expectation once for each source that has a share of its own, and once for all others."""
    for source, share in shares.items():
        yield Expectation(
            type=expectation.type,
            view=expectation.view,
            column=expectation.column,
            arguments={**expectation.arguments, "mostly": share},
            where={**expectation.where, "share_of": source},
        )


def _pair(one: str, other: str, *, view: str) -> Expectation:
    arguments = {"column_A": one, "column_B": other, "ignore_row_if": "neither"}
    return Expectation(type="expect_column_pair_values_to_be_equal", view=view, arguments=arguments)


def _values(
    column: str, what: str, *, view: str = "documents", where: Mapping[str, Any] | None = None, **arguments: Any
) -> Expectation:
    return Expectation(
        type=f"expect_column_values_to_{what}", view=view, column=column, arguments=arguments, where=where or {}
    )


_Group = Callable[[SuiteSettings], Iterator[Expectation]]
_GROUPS: Mapping[str, Mapping[str, _Group]] = MappingProxyType(
    {
        "annotated_docs": {
            SCHEMA: _schema_group(ANNOTATED_DOCUMENTS),
            IDENTITY: _identity_of_pages,
            CLASSES: _classes_of_truth,
            RANGES: _ranges,
            MONEY: _money,
            GEOMETRY: _geometry,
            DATES: _dates,
        },
        "corpus_release": {
            SCHEMA: _schema_group(RELEASE_DOCUMENTS),
            IDENTITY: _identity,
            CLASSES: _classes,
        },
        "training_set": {
            SCHEMA: _schema_group(TRAINING_DOCUMENTS),
            IDENTITY: _identity_of_training,
            CLASSES: _classes_of_training,
            RANGES: _ranges_of_training,
            SPLITS_DISJOINT: _splits,
        },
    }
)
"""Dataset -> group -> expectations; the functions read the taxonomy, so they run when asked."""
