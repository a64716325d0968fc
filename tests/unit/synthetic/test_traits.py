"""What real papers have and plain ones lack, in both tiers: it is printed, its truth is exact, and it adds up."""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from sap_llm.schema.page import Page
from sap_llm.schema.values import canonical
from sap_llm.synthetic import blocks_groups, blocks_lines, blocks_remarks, blocks_totals
from sap_llm.synthetic.amounts import check_balance
from sap_llm.synthetic.blocks_lines import tax_and_gross
from sap_llm.synthetic.blocks_remarks import remark_kinds
from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
from sap_llm.synthetic.stage import SyntheticDocsConfig, make_document
from sap_llm.synthetic.style import Style, labels

FACTS = BusinessFactsConfig(seed=17, chains_per_world=3, lines_max=14)
TIERS = ("typeset", "volume")
SUMS = ("net_amount", "tax_amount", "total_amount")
AMOUNTS = {"line_unit_price": "unit_price", "line_net_amount": "net_amount", "line_quantity": "quantity"}
A_TIER = 24


def documents(tier: str, seed: int, *kinds: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[Page]]]:
    """Payload, annotation and pages of documents of some classes; layouts are of the seed, and made once a process."""
    config = SyntheticDocsConfig(
        seed=seed, workers=1, test_layout_share=0.0, untitled_share=0.0, foreign_language_share=0.0, tier=tier,
        volume_share=1.0,
    )  # fmt: skip
    facts = (fact for number in range(60) for fact in fact_rows(number, FACTS) if fact["document_type"] in kinds)
    made = 0
    for fact in facts:
        rows = make_document(fact, config)
        if not rows["quarantine"]:
            payload = json.loads(fact["payload"])
            check_balance(payload, fact["currency"])
            yield payload, rows["annotations"][0], [*map(Page.from_row, rows["pages"])]
            made += 1
        if made == A_TIER:
            return


def values(annotation: dict[str, Any], name: str) -> set[str]:
    return {entry["value"] for entry in annotation["fields"] if entry["field"] == name}


def _readings(texts: Iterable[str]) -> set[Decimal]:
    """What texts may say as amounts."""
    found = (canonical(text, "amount", language=language) for text in texts for language in ("de", "en"))
    return {Decimal(value) for value in found if value}


def lines_of(annotation: dict[str, Any], pages: list[Page], name: str) -> set[tuple[int, int]]:
    """Page and visual line of each mention of a field."""
    return {
        (entry["page"], int(pages[entry["page"] - 1].lines[entry["word_ids"][0]]))
        for entry in annotation["fields"]
        if entry["field"] == name
    }


@pytest.mark.parametrize("tier", TIERS)
def test_sums_by_rate_end_with_the_documents_sums_on_one_line(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_totals, "_BY_RATE", 1.0)
    monkeypatch.setattr(blocks_totals, "_ALWAYS_PAID", 0.0)
    together = 0
    for payload, annotation, pages in documents(tier, 101, "SUPPLIER_INVOICE", "CREDIT_NOTE"):
        for name in SUMS:
            assert values(annotation, name) <= {payload[name]}
        if not Decimal(payload["prepaid_amount"]) and len(payload["taxes"]) > 1 and values(annotation, "tax_amount"):
            assert set.intersection(*(lines_of(annotation, pages, name) for name in SUMS))
            together += 1
    assert together > 0


@pytest.mark.parametrize("tier", TIERS)
def test_a_contained_tax_and_what_is_left_to_pay_leave_the_total_alone(
    tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_totals, "_CONTAINED", 1.0)
    monkeypatch.setattr(blocks_totals, "_ALWAYS_PAID", 1.0)
    monkeypatch.setattr(blocks_totals, "_BY_RATE", 0.0)
    contained = {word for language in ("de", "en", "es", "fr") for word in labels(language)["contained"]}
    found = 0
    for payload, annotation, pages in documents(tier, 102, "SUPPLIER_INVOICE"):
        for name in SUMS:
            assert values(annotation, name) <= {payload[name]}
        text = " ".join(word for page in pages for word in page.words).casefold()
        found += any(f" {word.casefold()} " in text for word in contained)
    assert found > 3


@pytest.mark.parametrize("tier", TIERS)
def test_remarks_below_descriptions_are_not_the_items_own_values(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_remarks, "_LAYOUTS", 1.0)
    more = 0
    for payload, annotation, _ in documents(tier, 103, "SUPPLIER_INVOICE", "PURCHASE_ORDER", "SALES_ORDER"):
        items = annotation["line_items"]
        for item, line in zip(items, payload["lines"], strict=True):
            cells = {entry["field"]: entry for entry in item["fields"]}
            assert cells["line_description"]["printed"].split() == line["description"].split()
            for name, key in (("line_quantity", "quantity"), ("line_unit_price", "unit_price")):
                if name in cells:
                    assert Decimal(cells[name]["value"]) == Decimal(line[key])
        spelled = sum(len(entry["word_ids"] or ()) for item in items for entry in item["fields"])
        in_tables = sum(len(cell["word_ids"]) for table in annotation["tables"] for cell in table["cells"])
        more += in_tables > spelled + 3 * len(items)
    assert more > A_TIER / 4


def test_a_layout_has_its_own_few_remarks() -> None:
    kinds = [
        remark_kinds(Style(seed=f"s{number}", language="de", country="DE", is_test=False)) for number in range(400)
    ]
    assert all(len(one) == len(set(one)) <= 3 for one in kinds)
    assert 0.25 < sum(map(bool, kinds)) / len(kinds) < 0.45
    assert len({kind for one in kinds for kind in one}) > 10


@pytest.mark.parametrize("tier", TIERS)
def test_columns_beside_price_and_amount_are_not_taken_for_them(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_lines, "_PRICE_UNIT", 1.0)
    monkeypatch.setattr(blocks_lines, "_GROSS", 1.0)
    printed = 0
    for payload, annotation, _ in documents(tier, 104, "SUPPLIER_INVOICE"):
        readings = _readings(cell["text"] for table in annotation["tables"] for cell in table["cells"])
        for item, line in zip(annotation["line_items"], payload["lines"], strict=True):
            cells = {entry["field"]: Decimal(entry["value"]) for entry in item["fields"] if entry["field"] in AMOUNTS}
            assert cells.items() <= {name: Decimal(line[key]) for name, key in AMOUNTS.items()}.items()
            printed += bool(readings & {Decimal(amount) for amount in tax_and_gross(line, "EUR")[1:]})
    assert printed > A_TIER / 2


@pytest.mark.parametrize("tier", TIERS)
def test_groups_of_lines_have_rows_of_their_own_and_sums_that_hold(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_groups, "_LAYOUTS", 1.0)
    grouped = summed = 0
    for payload, annotation, _ in documents(tier, 105, "SUPPLIER_INVOICE", "PURCHASE_ORDER"):
        lines = payload["lines"]
        assert len(annotation["line_items"]) == len(lines)
        rows = sum(table["rows"] for table in annotation["tables"])
        if len(lines) < 3 or rows <= len(lines) + len(annotation["tables"]):
            continue
        grouped += 1
        readings = _readings(cell["text"] for table in annotation["tables"] for cell in table["cells"])
        sums = {
            sum(Decimal(line["net_amount"]) for line in lines[first : first + size])
            for size in (2, 3, 4, 6)
            for first in range(0, len(lines), size)
        }
        summed += bool(sums & readings)
    assert grouped > 3
    assert summed
