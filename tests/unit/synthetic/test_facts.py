"""Business facts: identifiers, arithmetic, links between documents, determinism."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import ean
from stdnum import iban as iban_rules
from stdnum.ch import uid
from stdnum.cl import rut
from stdnum.eu import vat as eu_vat
from stdnum.gb import vat as gb_vat
from stdnum.jp import cn
from stdnum.kr import brn
from stdnum.mx import rfc
from stdnum.tn import mf

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.synthetic import identifiers
from sap_llm.synthetic.chains import make_chains
from sap_llm.synthetic.facts import FACTS, BusinessFactsConfig, build_business_facts, parse_range
from sap_llm.synthetic.goods import is_whole, usual_quantity
from sap_llm.synthetic.pools import LANGUAGE_OF, countries
from sap_llm.synthetic.subtypes import subtype_weights
from sap_llm.synthetic.worlds import World, home_language, make_world

VAT_RULES: dict[str, Any] = {"CH": uid, "CL": rut, "GB": gb_vat, "JP": cn, "KR": brn, "MX": rfc, "TN": mf}
CONFIG = BusinessFactsConfig(seed=7, chains_per_world=4, sales_per_world=2, lines_max=8)


def payloads(world: int, *, seed: int = 7) -> list[Any]:
    return list(make_chains(make_world(seed, world), seed=seed, count=6, sales=3, lines_max=12))


def chains_of(world: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for fact in payloads(world):
        found.setdefault(fact.chain, []).append(fact)
    return found


@given(seed=st.integers(0, 10**6), country=st.sampled_from(sorted(LANGUAGE_OF)))
@settings(max_examples=250, deadline=None)
def test_vat_ids_and_ibans_have_right_check_digits(seed: int, country: str) -> None:
    rng = random.Random(seed)
    number = identifiers.vat_id(rng, country)
    if country in ("US", "KW"):
        assert number == ""
    elif country in VAT_RULES:
        assert VAT_RULES[country].is_valid(number[1:] if country == "JP" else number)
    elif country == "BH":
        assert len(number) == 15
        assert number.isdigit()
    else:
        assert number.startswith(country)
        assert eu_vat.is_valid(number)
    if identifiers.has_iban(country):
        assert iban_rules.is_valid(identifiers.iban(rng, country, identifiers.bank_code(rng)))


@given(seed=st.integers(0, 10**6), thing=st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_numbers_of_gs1_have_right_check_digits(seed: int, thing: str) -> None:
    rng = random.Random(seed)
    assert ean.is_valid(identifiers.gln(rng))
    assert ean.is_valid(identifiers.gtin_of(thing))
    code = identifiers.sscc(rng)
    assert len(code) == 18
    assert ean.calc_check_digit(code[:-1]) == code[-1]


@pytest.mark.parametrize("count", [1, 9, 15, 16, 24])
def test_digits_are_as_many_as_asked(count: int) -> None:
    found = {identifiers.digits(random.Random(seed), count) for seed in range(40)}
    assert all(len(one) == count and one.isdigit() for one in found)
    assert len(found) > min(8, 5 * count)


def test_documents_of_a_purchase_refer_to_its_order_in_order_of_time() -> None:
    seen = 0
    for world in range(6):
        for name, documents in chains_of(world).items():
            orders = [one for one in documents if one.document_type == "PURCHASE_ORDER"]
            if "-c" not in name or len(orders) != 1:
                continue
            seen += 1
            order = orders[0]
            place = documents.index(order)
            assert all(one.document_date <= order.document_date for one in documents[:place])
            assert all(one.document_date >= order.document_date for one in documents[place:])
            numbers = {one.payload["order_number"] for one in documents[place:]}
            assert numbers <= {order.payload["document_number"], ""}
    assert seen > 25


def test_documents_point_at_documents_of_their_chain() -> None:
    """Every reference that a chain makes itself is the number of an earlier document of the chain."""
    kinds = {
        "original_invoice": {"SUPPLIER_INVOICE", "CUSTOMER_INVOICE"},
        "goods_receipt": {"GOODS_RECEIPT"},
        "requisition": {"PURCHASE_REQUISITION"},
        "order_confirmation": {"ORDER_RESPONSE"},
    }
    checked: dict[str, int] = dict.fromkeys(kinds, 0)
    for world in range(12):
        for documents in chains_of(world).values():
            numbers: dict[str, set[str]] = {}
            for one in documents:
                for key, wanted in kinds.items():
                    if number := one.payload.get(key):
                        assert any(number in numbers.get(kind, ()) for kind in wanted), (one.document_type, key)
                        checked[key] += 1
                numbers.setdefault(one.document_type, set()).add(one.payload["document_number"])
    assert min(checked.values()) > 10, checked


def test_one_invoice_may_bill_several_orders() -> None:
    found = 0
    for world in range(50):
        for documents in chains_of(world).values():
            orders = {one.payload["document_number"] for one in documents if one.document_type == "PURCHASE_ORDER"}
            for one in documents:
                if one.document_type == "SUPPLIER_INVOICE" and one.payload.get("orders"):
                    found += 1
                    assert {entry["number"] for entry in one.payload["orders"]} == orders
                    assert len(orders) == 2
                    assert {line.get("order_number", "") for line in one.payload["lines"]} <= orders | {""}
                    assert one.payload["order_number"] == ""
    assert found > 4


def test_partial_deliveries_add_up_to_the_order() -> None:
    found = 0
    for world in range(25):
        for documents in chains_of(world).values():
            invoices = [one for one in documents if one.document_subtype in ("PARTIAL", "FINAL")]
            latest = [one for one in documents if one.document_type in ("PURCHASE_ORDER", "ORDER_CHANGE")]
            if len(invoices) < 2:
                continue
            found += 1
            ordered = sum(Decimal(line["quantity"]) for line in latest[-1].payload["lines"])
            invoiced = sum(Decimal(line["quantity"]) for one in invoices for line in one.payload["lines"])
            assert invoiced == ordered
    assert found > 10


def test_payments_and_differences_agree_with_their_invoice() -> None:
    paid = different = 0
    for world in range(20):
        for fact in payloads(world):
            payment = fact.payload.get("payment")
            if payment:
                paid += 1
                claim = Decimal(fact.payload["total_amount"]) - Decimal(fact.payload["prepaid_amount"])
                assert Decimal(payment["amount"]) + Decimal(payment["discount"]) == claim
                assert payment["date"] > fact.payload["document_date"]
            for one in fact.payload.get("differences", ()):
                different += 1
                assert one["kind"] in ("price", "quantity")
                assert Decimal(one["expected"]) != Decimal(one["found"])
    assert paid > 100
    assert different > 10


def test_subtypes_are_those_of_the_taxonomy_and_of_the_configured_weights() -> None:
    taxonomy = load_taxonomy()
    for kind in ("PURCHASE_ORDER", "SUPPLIER_INVOICE"):
        assert set(subtype_weights(kind)) <= {entry.name for entry in taxonomy.document_class(kind).subtypes}
    facts = [
        fact
        for world in range(8)
        for fact in make_chains(
            make_world(7, world), seed=7, count=4, lines_max=4, order_subtypes={"RUSH": 1.0},
            invoice_subtypes={"STANDARD": 1.0},
        )
    ]  # fmt: skip
    met = {fact.document_subtype for fact in facts if fact.document_type in ("PURCHASE_ORDER", "SUPPLIER_INVOICE")}
    assert met == {"RUSH", "STANDARD"}


@pytest.mark.parametrize("weights", [{"NO_SUCH": 1.0}, {"RUSH": 0.0}])
def test_bad_weights_of_subtypes_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"choose from|zero"):
        BusinessFactsConfig(seed=1, chains_per_world=1, lines_max=1, order_subtypes=weights)


def worlds(count: int) -> list[World]:
    return [make_world(7, number) for number in range(count)]


def test_languages_are_balanced_over_any_four_worlds() -> None:
    for start in range(0, 40, 4):
        assert {home_language(7, number) for number in range(start, start + 4)} == {"de", "en", "fr", "es"}
    assert (
        len({home_language(7, number) for number in range(0, 80, 8)}) > 1
    )  # not a cycle that shares could fall in with


def test_parties_have_the_habits_of_their_country() -> None:
    for world in worlds(60):
        for party in (*world.companies, *world.vendors, *world.customers):
            local = countries()[party.country]
            shapes = ["".join("#" if char.isdigit() else char for char in shape) for shape in local["phones"]]
            assert "".join("#" if char.isdigit() else char for char in party.phone) in shapes
            assert party.currency == local["currency"]
            assert party.address["country"] == party.country


def test_goods_have_units_quantities_and_prices_of_their_kind() -> None:
    rng = random.Random(3)
    seen = set()
    for world in worlds(40):
        for vendor in world.vendors:
            for item in vendor.items:
                seen.add(item.category)
                quantity = usual_quantity(rng, item)
                assert quantity > 0
                assert not is_whole(item.unit) or quantity == quantity.to_integral_value()
                if vendor.currency == "EUR":
                    assert item.price_for(Decimal(1)) <= 15_000
                    assert item.category != "fasteners" or item.price_for(Decimal(1)) < 2
                assert item.price_for(Decimal(10**6)) <= item.price_for(Decimal(1))
    assert len(seen) > 20


def test_worlds_are_closed() -> None:
    names = [
        {party.vat_id for party in (*world.companies, *world.vendors, *world.customers) if party.vat_id}
        for world in worlds(30)
    ]
    for index, one in enumerate(names):
        assert all(not one & other for other in names[:index])


def test_world_does_not_depend_on_the_range_it_is_made_in(tmp_path: Any, frozen_context: StageContext) -> None:
    wide = build_business_facts(frozen_context, config=CONFIG, seed_range="0000-0003").dataset.table("facts")
    narrow = build_business_facts(frozen_context, config=CONFIG, seed_range="0002-0002").dataset.table("facts")
    wanted = [row for row in wide.to_pylist() if row["world_number"] == 2]
    assert narrow.to_pylist() == wanted
    assert wide.schema == FACTS
    assert json.loads(wanted[0]["payload"])["document_number"] == wanted[0]["document_number"]


def test_facts_are_reused_and_seeds_differ(frozen_context: StageContext) -> None:
    first = build_business_facts(frozen_context, config=CONFIG, seed_range="0000-0001")
    again = build_business_facts(frozen_context, config=CONFIG, seed_range="0000-0001")
    other = build_business_facts(frozen_context, config=CONFIG.model_copy(update={"seed": 8}), seed_range="0000-0001")
    assert not first.is_reused
    assert again.is_reused
    assert other.manifest.data_version != first.manifest.data_version


@pytest.mark.parametrize("text", ["", "5", "9-3", "a-b", "0000-"])
def test_bad_range_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigurationError, match="0000-0049"):
        parse_range(text)


@pytest.fixture
def frozen_context(tmp_path: Any) -> StageContext:
    from datetime import UTC, datetime

    return StageContext(store=DatasetStore(tmp_path / "store"), clock=FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)))
