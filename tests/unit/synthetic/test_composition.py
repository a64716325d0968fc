"""Which facts become documents: so many of each class, whatever else there is."""

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.schema.tables import conform
from sap_llm.synthetic.composition import composed, known_names
from sap_llm.synthetic.facts import FACTS, BusinessFactsConfig, fact_rows
from sap_llm.synthetic.stage import SyntheticDocsConfig

CONFIG = BusinessFactsConfig(seed=4, chains_per_world=3, sales_per_world=2, lines_max=3)
WORLDS = 12


@pytest.fixture(scope="module")
def facts() -> pa.Table:
    return conform([row for world in range(WORLDS) for row in fact_rows(world, CONFIG)], FACTS)


def counts(table: pa.Table) -> dict[str, int]:
    return {one["values"]: one["counts"] for one in table.column("document_type").value_counts().to_pylist()}


def test_an_empty_composition_keeps_all(facts: pa.Table) -> None:
    assert composed(facts, {}).equals(facts.sort_by("document_id"))


def test_counts_are_those_asked_for_or_all_there_are(facts: pa.Table) -> None:
    chosen = counts(composed(facts, {"SALES_ORDER": 1.5, "GOODS_RECEIPT": 1.0, "INQUIRY": 50.0}))
    assert chosen == {"SALES_ORDER": 18, "GOODS_RECEIPT": 12, "INQUIRY": counts(facts)["INQUIRY"]}


def test_a_subtype_has_a_count_of_its_own(facts: pa.Table) -> None:
    chosen = composed(facts, {"PURCHASE_ORDER.STANDARD": 0.5, "PURCHASE_ORDER": 1.0})
    standard = [one == "STANDARD" for one in chosen.column("document_subtype").to_pylist()]
    assert (sum(standard), len(standard) - sum(standard)) == (6, 12)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_choice_depends_on_no_order(facts: pa.Table, seed: int) -> None:
    order = list(range(facts.num_rows))
    random.Random(seed).shuffle(order)
    composition = {"SUPPLIER_INVOICE": 1.0, "PURCHASE_ORDER": 2.0, "PACKING_LIST": 0.3}
    assert composed(facts.take(order), composition).equals(composed(facts, composition))


def test_more_of_a_class_only_adds_documents(facts: pa.Table) -> None:
    few, many = (set(composed(facts, {"SALES_ORDER": mean}).column("document_id").to_pylist()) for mean in (0.5, 1.5))
    assert few < many


@pytest.mark.parametrize("name", ["SUPPLIER_INVOICES", "PURCHASE_ORDER.NONE", "STANDARD"])
def test_unknown_names_are_refused(name: str) -> None:
    values: dict[str, Any] = {
        "seed": 1, "workers": 1, "test_layout_share": 0, "untitled_share": 0, "foreign_language_share": 0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="the taxonomy has no"):
        SyntheticDocsConfig(**values, documents_per_world={name: 1.0})
    assert {"PURCHASE_ORDER", "PURCHASE_ORDER.RUSH"} <= known_names()
