"""Papers beside the trade documents: facts that balance and refer to their chain, pages whose words say the truth."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from babel.numbers import get_currency_precision
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import canonical
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.synthetic.facts import BusinessFactsConfig, build_business_facts, fact_rows
from sap_llm.synthetic.layouts import title_words
from sap_llm.synthetic.papers import MAKERS
from sap_llm.synthetic.papers_blocks import word_of
from sap_llm.synthetic.papers_money import Account, Entry
from sap_llm.synthetic.papers_values import PAPER_TYPES, column, description, field_of, type_of
from sap_llm.synthetic.papers_work import FORM_VARIANTS, OTHER_VARIANTS
from sap_llm.synthetic.pools import read_data
from sap_llm.synthetic.request import LANGUAGES, Request, known_types, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig, build_synthetic_docs, make_draft, typeset_fact
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.worlds import make_world

ALL = dict.fromkeys(PAPER_TYPES, 1.0)
DOCUMENTS = SyntheticDocsConfig(
    seed=5, workers=1, test_layout_share=0.2, untitled_share=0.15, foreign_language_share=0.05
)  # fmt: skip
A_LANGUAGE = 3  # documents of each class in each language
PARTS = ("pairs", "after")


def config(**given: Any) -> BusinessFactsConfig:
    return BusinessFactsConfig(**({"seed": 5, "chains_per_world": 2, "lines_max": 8, "papers": ALL} | given))


@cache
def world(number: int) -> tuple[dict[str, Any], ...]:
    return tuple(fact_rows(number, config()))


def facts_of(kind: str) -> Iterator[dict[str, Any]]:
    made = (row for number in count() for row in fact_rows(number, config(papers={kind: 1.0})))
    return (row for row in made if row["document_type"] == kind)


def facts_in(kind: str, language: str) -> Iterator[dict[str, Any]]:
    return (row for row in facts_of(kind) if make_draft(row, DOCUMENTS).style.language == language)


def payloads(kind: str, *, worlds: int = 8) -> list[dict[str, Any]]:
    rows = [row for number in range(worlds) for row in world(number) if row["document_type"] == kind]
    return [json.loads(row["payload"]) | {"chain": row["chain"]} for row in rows]


def claims(*, worlds: int = 8) -> list[dict[str, Any]]:
    kinds = ("SUPPLIER_INVOICE", "CUSTOMER_INVOICE", "CREDIT_NOTE")
    return [one for kind in kinds for one in payloads(kind, worlds=worlds)]


def total(lines: list[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(line[name]) for line in lines), Decimal(0))


def test_every_class_of_the_taxonomy_that_is_a_paper_has_a_maker_and_a_description() -> None:
    known = {entry.name for entry in load_taxonomy().classes}
    assert set(PAPER_TYPES) == set(MAKERS) == set(read_data("papers")["classes"])
    assert set(PAPER_TYPES) < known


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", PAPER_TYPES)
def test_everything_that_a_class_shows_has_words(kind: str, language: str) -> None:
    words, spec = labels(language), description(kind)
    assert all(len(set(words[concept][kind])) >= 6 for concept in ("titles", "number", "date"))
    named = {name for part in PARTS for name in spec.get(part, ())} | set(spec.get("totals", ()))
    for form in spec.get("boxes", {}).values():
        for content, _ in (box for row in form for box in row):
            part, _, name = content.partition(":")
            if name:
                where = {"sign": "signs", "blank": "boxes", "text": "clauses"}.get(part)
                assert where is None or words[where][name]
            elif part not in ("lines", "title"):
                named.add(part)
    named |= {name for names in spec.get("fields", {}).values() for name in names}
    assert not [name for name in named if name not in words and not name.startswith("document_")]
    tables = [order for orders in spec["tables"].values() for order in orders]
    tables += [order for more in spec.get("more", ()) for order in spec[more]]
    for name in {name for order in tables for name in order}:
        assert words["columns"][name]
        assert all(column(part) is not None for part in column(name).get("parts", ()))
    assert all(words["signs"][concept] for concept in spec.get("sign", ()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_have_the_same_words_and_no_word_is_read_as_a_truth_value(language: str) -> None:
    for name in ("papers", "prose"):
        ours, english = read_data(f"{name}_{language}"), read_data(f"{name}_en")
        assert set(ours) == set(english)
        assert all(set(ours[key]) == set(english[key]) for key in ours if isinstance(ours[key], dict))
        assert all(isinstance(text, str) for text in leaves(ours))
    for concept, words in read_data(f"labels_{language}").items():  # papers take no word from trade documents
        kept = labels(language)[concept]
        assert words.items() <= kept.items() if isinstance(words, dict) else kept == words


def leaves(entry: Any) -> Iterator[Any]:
    if isinstance(entry, dict):
        yield from entry
        for value in entry.values():
            yield from leaves(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from leaves(value)
    else:
        yield entry


@pytest.mark.parametrize("kind", PAPER_TYPES)
def test_class_composes_in_each_language_and_its_words_say_the_truth(kind: str) -> None:
    fields: Counter[str] = Counter()
    for language in LANGUAGES:
        for fact in islice(facts_in(kind, language), A_LANGUAGE):
            rows = typeset_fact(fact, DOCUMENTS)
            assert not rows["quarantine"], rows["quarantine"]
            assert rows["documents"][0]["document_type"] == kind
            assert rows["documents"][0]["language"] == language
            fields += check_truth(rows, kind, language)
    if kind not in ("FORM", "OTHER"):
        assert fields["document_number"] or fields["statement_number"] or kind in ("SAFETY_DATA_SHEET", "TIMESHEET")
        assert len(fields) >= 4


def check_truth(rows: dict[str, Any], kind: str, language: str) -> Counter[str]:
    (annotation,), pages = rows["annotations"], {page["page_number"]: page for page in rows["pages"]}
    lines = [field for item in annotation["line_items"] for field in item["fields"]]
    for entry in annotation["fields"] + lines:
        spec = load_taxonomy().field(entry["field"])
        assert not spec.classes or kind in spec.classes
        printed = " ".join(pages[entry["page"]]["words"][index] for index in entry["word_ids"])
        assert printed == entry["printed"]
        assert says(printed, entry["value"], spec.type, language), entry
    assert bool(annotation["line_items"]) <= bool(annotation["tables"])
    return Counter(entry["field"] for entry in annotation["fields"] + lines)


def says(printed: str, value: str, kind: str, language: str) -> bool:
    if kind in ("string", "country", "unit"):
        return value.replace(" ", "").casefold() in printed.replace(" ", "").casefold()
    bare = printed.strip(".,;:()[]")
    return any(canonical(text, kind, language=language) == canonical(value, kind) for text in (printed, bare))


@pytest.mark.parametrize("kind", PAPER_TYPES)
def test_wording_differs_from_issuer_to_issuer(kind: str) -> None:
    drafts = [make_draft(fact, DOCUMENTS) for fact in islice(facts_in(kind, "de"), 16)]
    assert len({title_words(draft).casefold() for draft in drafts if draft.is_titled}) >= 3
    if kind not in ("FORM", "OTHER"):
        named = next(iter(description(kind)["pairs"]))
        assert len({word_of(draft, named) for draft in drafts}) >= 3


def test_all_variants_of_forms_and_other_papers_are_made() -> None:
    made = {kind: Counter(fact["variant"] for fact in payloads(kind, worlds=60)) for kind in ("FORM", "OTHER")}
    assert set(made["FORM"]) == set(FORM_VARIANTS)
    assert set(made["OTHER"]) == set(OTHER_VARIANTS)
    assert all("issuer_role" in fact and fact["lines"] == [] for fact in payloads("OTHER"))


money = st.decimals(-(10**6), 10**6, places=2)


@given(opening=money, amounts=st.lists(money.filter(bool), max_size=30))
@settings(max_examples=80, deadline=None)
def test_an_account_cannot_but_balance(opening: Decimal, amounts: list[Decimal]) -> None:
    account = Account(opening, tuple(Entry(date(2024, 1, 1), amount, "transfer") for amount in amounts))
    assert account.closing == opening + sum(amounts) == opening + account.incoming - account.outgoing
    rows = account.rows()
    assert [Decimal(row["balance"]) for row in rows] == account.balances
    assert all(bool(row["debit"]) != bool(row["credit"]) for row in rows)
    balance = opening
    for row in rows:
        balance += Decimal(row["credit"] or 0) - Decimal(row["debit"] or 0)
        assert Decimal(row["balance"]) == balance
    with pytest.raises(AttributeError):
        account.closing = Decimal(1)  # type: ignore[misc]


@given(number=st.integers(0, 4000))
@settings(max_examples=15, deadline=None)
def test_sums_of_papers_are_those_of_their_lines(number: int) -> None:
    for row in fact_rows(number, config()):
        check = _SUMS.get(row["document_type"])
        if check:
            facts = json.loads(row["payload"])
            check(facts["lines"], {name: _decimal(value) for name, value in facts["values"].items()})


def _decimal(text: str) -> Any:
    try:
        return Decimal(text)
    except ArithmeticError:
        return text


def _statement(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    if "opening_balance" in values:
        _bank(lines, values | {"sum_credit": values["sum_debit"], "sum_debit": values["sum_credit"]})
    else:
        assert total(lines, "open") == values["closing_balance"]
    assert values["closing_balance"] == values["payable_amount"]


def _bank(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    assert values["opening_balance"] + total(lines, "amount") == values["closing_balance"]
    assert values["opening_balance"] + values["sum_credit"] - values["sum_debit"] == values["closing_balance"]
    assert Decimal(lines[-1]["balance"]) == values["closing_balance"]


def _remittance(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    assert total(lines, "open") - total(lines, "discount") == total(lines, "paid") == values["paid_amount"]
    assert values["sum_open"] - values.get("discount_amount", 0) == values["paid_amount"]


def _dunning(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    charges = values.get("dunning_fee", 0) + values.get("interest_amount", 0)
    assert total(lines, "open") + charges == values["payable_amount"] > 0


def _taxed(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    assert total(lines, "amount") == values["net_amount"]
    assert values["net_amount"] + values["tax_amount"] == values["total_amount"]
    half = Decimal("0.5").scaleb(-get_currency_precision(values["currency"]))
    assert abs(values["net_amount"] * values["tax_rate"] / 100 - values["tax_amount"]) <= half


def _receipt(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    assert total(lines, "amount") == values["total_amount"] == values["net_amount"] + values["tax_amount"]
    if "given_amount" in values:
        assert values["given_amount"] - values.get("change_amount", 0) == values["total_amount"]


def _expenses(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    assert total(lines, "amount") == values["total_amount"]
    assert values.get("advance", 0) + values.get("refund", values["total_amount"]) == values["total_amount"]


def _cargo(lines: list[dict[str, Any]], values: dict[str, Any]) -> None:
    assert total(lines, "packages") == values["package_count"]
    assert total(lines, "gross") == values["gross_weight"] > values["net_weight"] == total(lines, "net")


_SUMS = {
    "STATEMENT_OF_ACCOUNT": _statement,
    "BANK_STATEMENT": _bank,
    "REMITTANCE_ADVICE": _remittance,
    "PAYMENT_ORDER": lambda lines, values: _equal(total(lines, "open"), values["paid_amount"]),
    "DUNNING_LETTER": _dunning,
    "FREIGHT_INVOICE": _taxed,
    "RECEIPT": _receipt,
    "EXPENSE_REPORT": _expenses,
    "SERVICE_ENTRY_SHEET": lambda lines, values: _equal(total(lines, "amount"), values["net_amount"]),
    "TIMESHEET": lambda lines, values: _equal(total(lines, "hours"), values["total_hours"]),
    "WAYBILL": _cargo,
    "BILL_OF_LADING": _cargo,
    "FREIGHT_ORDER": _cargo,
    "CUSTOMS_DECLARATION": lambda lines, values: _equal(total(lines, "amount"), values["goods_value"]),
}


def _equal(one: Decimal, other: Decimal) -> None:
    assert one == other


@pytest.mark.parametrize("kind", ["STATEMENT_OF_ACCOUNT", "REMITTANCE_ADVICE", "DUNNING_LETTER", "PAYMENT_ORDER"])
def test_papers_about_money_name_the_invoices_of_their_chain(kind: str) -> None:
    found = 0
    for facts in payloads(kind):
        invoices = [one for one in claims() if one["chain"] == facts["chain"]]
        named = {line["invoice"]: line for line in facts["lines"] if "open" in line}
        for invoice in invoices:
            if line := named.get(invoice["document_number"]):
                assert line["invoice_date"] == invoice["document_date"]
                assert abs(Decimal(line["open"])) == abs(Decimal(invoice["total_amount"]))
                found += 1
        assert facts["seller"]["name"] in {one["seller"]["name"] for one in invoices}
    assert found >= 5


def test_bank_statements_show_the_payment_of_invoices_to_the_cent() -> None:
    invoices = {one["document_number"]: one for one in claims()}
    paid = [line for facts in payloads("BANK_STATEMENT") for line in facts["lines"] if line["invoice"]]
    assert len(paid) >= 5
    for line in paid:
        assert Decimal(line["amount"]) == -Decimal(invoices[line["invoice"]]["total_amount"])


def test_transport_papers_carry_the_goods_of_the_order() -> None:
    orders = {one["chain"]: one for kind in ("SALES_ORDER", "PURCHASE_ORDER") for one in payloads(kind)}
    for kind in ("WAYBILL", "FREIGHT_ORDER", "CUSTOMS_DECLARATION", "CERTIFICATE_OF_ORIGIN", "QUALITY_CERTIFICATE"):
        for facts in payloads(kind):
            ordered = [line["material"] for line in orders[facts["chain"]]["lines"]]
            shown = [line["material"] for line in facts["lines"]]
            assert shown == [number for number in ordered if number in shown][: len(shown)]


def test_goods_are_named_in_the_language_of_who_writes_and_weigh_what_they_weigh() -> None:
    for number in range(12):
        things = make_world(5, number).things
        for row in world(number):
            if row["document_type"] not in ("WAYBILL", "QUALITY_CERTIFICATE", "RECEIPT", "BILL_OF_LADING"):
                continue
            for line in json.loads(row["payload"])["lines"]:
                thing = things.get(line["description"])
                if thing is None:
                    continue  # a charge
                assert line["description"] == thing.description(row["language"])
                if "net" in line:
                    right = abs(Decimal(line["quantity"])) * thing.weight
                    assert abs(Decimal(line["net"]) - right) <= Decimal("0.1")
                    assert not thing.is_service


def test_customs_and_ships_are_for_goods_that_cross_a_border() -> None:
    for kind in ("CUSTOMS_DECLARATION", "BILL_OF_LADING", "CERTIFICATE_OF_ORIGIN"):
        found = [(one["seller"]["country"], one["buyer"]["country"]) for one in payloads(kind)]
        assert found
        assert all(seller != buyer for seller, buyer in found)


def test_papers_change_nothing_else_and_one_class_nothing_of_another() -> None:
    for number in range(4):
        plain = list(fact_rows(number, config(papers={})))
        assert [row for row in world(number) if row["document_type"] not in PAPER_TYPES] == plain
        alone = [row for row in fact_rows(number, config(papers={"OTHER": 1.0})) if row["document_type"] == "OTHER"]
        assert alone == [row for row in world(number) if row["document_type"] == "OTHER"]
        assert len({row["document_id"] for row in world(number)}) == len(world(number))


def test_profile_decides_how_many_chains_have_a_paper() -> None:
    rows = [row for number in range(60) for row in fact_rows(number, config(papers={"FORM": 0.4, "OTHER": 0.0}))]
    counts = Counter(row["document_type"] for row in rows)
    assert 0.25 < counts["FORM"] / len({row["chain"] for row in rows}) < 0.55
    assert counts["OTHER"] == 0


def test_class_that_is_no_paper_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"SUPPLIER_INVOICE are no classes of papers; there are FREIGHT_INVOICE"):
        config(papers={"SUPPLIER_INVOICE": 0.5})


def test_papers_are_asked_for_by_name_whatever_the_profile_says() -> None:
    assert known_types(["bank_statement", "Other"]) == ("BANK_STATEMENT", "OTHER")
    assert not set(known_types([])) & set(PAPER_TYPES)
    wanted = Request(facts=config(papers={}), documents=DOCUMENTS, document_types=("WAYBILL",))
    assert {fact["document_type"] for fact in islice(wanted_facts(wanted), 5)} == {"WAYBILL"}


def test_corpus_takes_papers_of_all_kinds_even_without_a_word(tmp_path: Path) -> None:
    context = StageContext(store=DatasetStore(tmp_path), clock=FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)))
    facts = build_business_facts(context, config=config(papers={"OTHER": 1.0, "RECEIPT": 1.0}), seed_range="0004-0006")
    built = build_synthetic_docs(context, config=DOCUMENTS, facts=facts.ref, seed_range="0004-0006")
    counts = Counter(built.dataset.table("documents").column("document_type").to_pylist())
    chains = set(facts.dataset.table("facts").column("chain").to_pylist())
    assert counts["OTHER"] == facts.manifest.metrics["documents_other"] == len(chains)
    assert counts["RECEIPT"] == facts.manifest.metrics["documents_receipt"]
    words = [len(page) for page in built.dataset.table("pages").column("words").to_pylist()]
    assert min(words) == 0


def test_types_and_fields_come_from_the_taxonomy() -> None:
    assert field_of("line_hours", "TIMESHEET") == "line_hours"
    assert field_of("line_hours", "RECEIPT") == field_of("no_such_name", "RECEIPT") == ""
    assert (type_of("paid_amount"), type_of("sum_open"), type_of("purpose")) == ("amount", "amount", "string")


def test_a_payer_without_an_iban_is_not_asked_for_it_in_a_sentence() -> None:
    payment = next(
        row for row in facts_of("PAYMENT_ORDER") if "debtor_iban" not in json.loads(row["payload"])["values"]
    )
    draft = make_draft(payment, DOCUMENTS)
    intros = labels(draft.style.language)["intro"]["PAYMENT_ORDER"]
    sayable = [one for one in intros if draft.can_say(one)]
    assert sayable
    assert len(sayable) < len(intros)
    for one in sayable:
        draft.sentence(one)
