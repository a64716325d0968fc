"""Business facts: identifiers, arithmetic, links between documents, determinism."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban as iban_rules
from stdnum.ch import uid
from stdnum.eu import vat as eu_vat
from stdnum.gb import vat as gb_vat

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.synthetic import identifiers
from sap_llm.synthetic.chains import make_chains
from sap_llm.synthetic.facts import FACTS, BusinessFactsConfig, build_business_facts, parse_range
from sap_llm.synthetic.pools import LANGUAGE_OF
from sap_llm.synthetic.worlds import make_world

CONFIG = BusinessFactsConfig(seed=7, chains_per_world=4, lines_max=8)


def payloads(world: int, *, seed: int = 7) -> list[Any]:
    return list(make_chains(make_world(seed, world), seed=seed, count=6, lines_max=12))


@given(seed=st.integers(0, 10**6), country=st.sampled_from(sorted(LANGUAGE_OF)))
@settings(max_examples=120, deadline=None)
def test_vat_ids_and_ibans_have_right_check_digits(seed: int, country: str) -> None:
    rng = random.Random(seed)
    number = identifiers.vat_id(rng, country)
    if country == "US":
        assert number == ""
    elif country == "CH":
        assert uid.is_valid(number)
    elif country == "GB":
        assert gb_vat.is_valid(number)
    else:
        assert number.startswith(country)
        assert eu_vat.is_valid(number)
    assert iban_rules.is_valid(identifiers.iban(rng, country, identifiers.bank_code(rng)))


@given(world=st.integers(0, 5000))
@settings(max_examples=25, deadline=None)
def test_lines_taxes_and_totals_add_up(world: int) -> None:
    for fact in payloads(world):
        facts = fact.payload
        for line in facts["lines"]:
            gross = Decimal(line["quantity"]) * Decimal(line["unit_price"])
            net = gross * (100 - Decimal(line["discount_percent"])) / 100
            assert abs(net - Decimal(line["net_amount"])) <= Decimal("0.005")
        lines = sum(Decimal(line["net_amount"]) for line in facts["lines"])
        net = lines - Decimal(facts["discount_amount"]) + Decimal(facts["freight_amount"])
        assert Decimal(facts["net_amount"]) == net
        assert sum(Decimal(tax["base"]) for tax in facts["taxes"]) == net
        for tax in facts["taxes"]:
            assert abs(Decimal(tax["base"]) * Decimal(tax["rate"]) / 100 - Decimal(tax["amount"])) <= Decimal("0.005")
        assert Decimal(facts["tax_amount"]) == sum(Decimal(tax["amount"]) for tax in facts["taxes"])
        assert Decimal(facts["net_amount"]) + Decimal(facts["tax_amount"]) == Decimal(facts["total_amount"])


def test_documents_of_a_chain_refer_to_its_order() -> None:
    chains: dict[str, list[Any]] = {}
    for fact in payloads(11):
        chains.setdefault(fact.chain, []).append(fact)
    assert len(chains) == 6
    for documents in chains.values():
        order = documents[0]
        assert order.document_type == "PURCHASE_ORDER"
        assert {document.payload["order_number"] for document in documents} == {order.payload["document_number"]}
        assert all(document.document_date >= order.document_date for document in documents)
        assert len({document.payload["seller"]["name"] for document in documents}) == 1


def test_partial_deliveries_add_up_to_the_order() -> None:
    found = 0
    for world in range(12):
        chains: dict[str, list[Any]] = {}
        for fact in payloads(world):
            chains.setdefault(fact.chain, []).append(fact)
        for documents in chains.values():
            invoices = [one for one in documents if one.document_subtype in ("PARTIAL", "FINAL")]
            if len(invoices) < 2:
                continue
            found += 1
            ordered = sum(Decimal(line["quantity"]) for line in documents[0].payload["lines"])
            invoiced = sum(Decimal(line["quantity"]) for one in invoices for line in one.payload["lines"])
            assert invoiced == ordered
    assert found > 3


def test_subtypes_are_those_of_the_taxonomy() -> None:
    known = {kind: {entry.name for entry in load_taxonomy().document_class(kind).subtypes} for kind in
             ("PURCHASE_ORDER", "SALES_ORDER", "GOODS_RECEIPT", "SUPPLIER_INVOICE")}  # fmt: skip
    met: dict[str, set[str]] = {kind: set() for kind in known}
    for world in range(20):
        for fact in payloads(world):
            if fact.document_subtype:
                met[fact.document_type].add(fact.document_subtype)
    for kind, names in met.items():
        assert names <= known[kind]
    assert len(met["PURCHASE_ORDER"]) >= 7
    assert len(met["SUPPLIER_INVOICE"]) >= 6


def test_worlds_are_closed() -> None:
    names = [{party.vat_id for party in (*world.buyers, *world.vendors) if party.vat_id} for world in
             (make_world(7, number) for number in range(30))]  # fmt: skip
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
