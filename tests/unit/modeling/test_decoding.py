"""Choosing values from word probabilities: arithmetic, syntax, mentions, wrapping, rows."""

from typing import Any

import numpy as np
import pytest

from sap_llm.modeling.candidates import Candidate, Scroll, candidates, is_iban
from sap_llm.modeling.decoding import choose_amounts, decode_header
from sap_llm.modeling.labels import HEADER_FIELDS, LINE_FIELDS, default_labels
from sap_llm.modeling.line_items import decode_line_items
from sap_llm.modeling.normalise import manner_of
from sap_llm.schema.page import Page


def lay_out(*rows: Any) -> Any:
    """A page from rows of (x, text) pairs; every text may have several words."""
    words, boxes, lines = [], [], []
    for line, row in enumerate(rows):
        for x, text in row:
            left = float(x)
            for word in text.split():
                words.append(word)
                boxes.append([left, 20.0 * line, left + 6 * len(word), 20.0 * line + 10])
                lines.append(line)
                left += 6 * len(word) + 4
    return Page(
        page_number=1,
        width=595.0,
        height=842.0,
        words=words,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        lines=np.array(lines, dtype=np.int32),
        reader="typeset",
    )


def header_scores(page: Any, **tagged: Any) -> Any:
    """Probabilities with 1 - p left for outside; `tagged` maps a field to {word index: p}."""
    scores = np.zeros((len(page.words), 1 + len(HEADER_FIELDS)), dtype=np.float32)
    for name, places in tagged.items():
        for place, value in places.items():
            scores[place, HEADER_FIELDS.index(name) + 1] = value
    scores[:, 0] = 1.0 - scores[:, 1:].sum(axis=1)
    return scores


def decoded(page: Any, **tagged: Any) -> Any:
    return {item.field: item for item in decode_header([page], header_scores(page, **tagged), default_labels())}


def test_an_unlikely_amount_that_adds_up_beats_a_likelier_one_that_does_not() -> None:
    page = lay_out([(0, "100.00")], [(0, "19.00")], [(0, "119.00")], [(0, "120.00")])
    found = decoded(page, net_amount={0: 0.9}, tax_amount={1: 0.8}, total_amount={2: 0.1, 3: 0.3})
    assert found["total_amount"].value == "119.00"


def test_amounts_that_do_not_add_up_are_kept_when_they_are_likely() -> None:
    found = {
        "net_amount": [Candidate("100.00", (0,), 0.95)],
        "tax_amount": [Candidate("5.00", (1,), 0.9)],
        "total_amount": [Candidate("130.00", (2,), 0.95)],
    }
    assert {name: choice.value for name, choice in choose_amounts(found).items()} == {
        "net_amount": "100.00",
        "tax_amount": "5.00",
        "total_amount": "130.00",
    }


def test_no_amount_is_invented_from_unlikely_words() -> None:
    assert choose_amounts({"total_amount": [Candidate("3.00", (0,), 0.05)]}) == {}


def test_mentions_count_with_their_best_score_not_their_sum() -> None:
    page = lay_out([(0, "PO-1")], [(0, "PO-1")], [(0, "PO-1")], [(0, "PO-2")])
    found = decoded(page, document_number={0: 0.5, 1: 0.5, 2: 0.5, 3: 0.7})
    assert found["document_number"].value == "PO-2"


def test_a_name_that_wraps_is_one_value_with_all_its_words() -> None:
    page = lay_out([(50, "Nordwind Maschinenbau"), (400, "Rechnung")], [(50, "und Anlagen GmbH"), (400, "Nr. 5")])
    places = {0: 0.9, 1: 0.9, 3: 0.9, 4: 0.9, 5: 0.9}
    found = decoded(page, seller_name=places)["seller_name"]
    assert found.value == "Nordwind Maschinenbau und Anlagen GmbH"
    assert found.word_ids == (0, 1, 3, 4, 5)


@pytest.mark.parametrize("company", ["Muster AG Nord", "Muster GmbH"])
def test_a_person_below_a_legal_form_is_no_part_of_the_company(company: str) -> None:
    page = lay_out([(50, company)], [(50, "Petra Beispiel")])
    assert decoded(page, buyer_name=dict.fromkeys(range(len(page.words)), 0.9))["buyer_name"].value == company


def test_a_name_goes_on_below_with_an_ampersand() -> None:
    page = lay_out([(50, "Muster GmbH")], [(50, "& Co. KG")])
    assert decoded(page, buyer_name=dict.fromkeys(range(5), 0.9))["buyer_name"].value == "Muster GmbH & Co. KG"


def test_a_name_repeated_below_is_not_joined() -> None:
    page = lay_out([(50, "Acme AG")], [(50, "Acme AG")])
    assert decoded(page, seller_name={0: 0.9, 1: 0.9, 2: 0.8, 3: 0.8})["seller_name"].value == "Acme AG"


def test_seller_and_buyer_are_never_one_company() -> None:
    page = lay_out([(50, "Acme AG")], [(50, "Buyer Ltd")])
    found = decoded(page, seller_name={0: 0.9, 1: 0.9}, buyer_name={0: 0.05, 1: 0.05, 2: 0.4, 3: 0.4})
    assert (found["seller_name"].value, found["buyer_name"].value) == ("Acme AG", "Buyer Ltd")
    page = lay_out([(50, "Acme AG")], [(50, "ACME AG")], [(50, "Buyer Ltd")])
    found = decoded(page, seller_name={0: 0.9, 1: 0.9}, buyer_name={2: 0.8, 3: 0.8, 4: 0.4, 5: 0.4})
    assert (found["seller_name"].value, found["buyer_name"].value) == ("Acme AG", "Buyer Ltd")


def test_a_value_that_two_fields_want_goes_to_the_likelier_and_is_missing_in_the_other() -> None:
    page = lay_out([(50, "4711")], [(50, "0815")])
    found = decoded(page, document_number={0: 0.5}, order_reference={0: 0.45, 1: 0.1})
    assert found["document_number"].value == "4711"
    assert "order_reference" not in found


def test_nothing_is_due_before_it_is_billed() -> None:
    page = lay_out([(0, "31.03.2020")], [(0, "15.03.2020")])
    found = decoded(page, document_date={0: 0.9}, due_date={1: 0.6})
    assert found["document_date"].value == "2020-03-31"
    assert "due_date" not in found


def test_a_name_is_completed_by_words_beside_it_that_could_belong_to_it() -> None:
    page = lay_out([(50, "Buyer: Bellerive en Bresse Trade GmbH Gate"), (400, "Other AG")])
    found = decoded(page, buyer_name={1: 0.05, 2: 0.9, 3: 0.9, 4: 0.9, 5: 0.9, 6: 0.05, 7: 0.05})
    assert found["buyer_name"].value == "Bellerive en Bresse Trade GmbH"
    assert found["buyer_name"].confidence > 0.85


def test_a_name_does_not_go_on_in_the_next_column() -> None:
    page = lay_out([(50, "Acme Works"), (300, "Buyer Trade")])
    assert decoded(page, seller_name={0: 0.9, 1: 0.9, 2: 0.8, 3: 0.8})["seller_name"].value == "Acme Works"


def test_a_person_below_a_company_is_not_its_name() -> None:
    page = lay_out([(50, "Acme Works")], [(50, "John Smith")])
    assert decoded(page, buyer_name={0: 0.9, 1: 0.9, 2: 0.3, 3: 0.3})["buyer_name"].value == "Acme Works"


def test_terms_may_go_on_below_a_word_that_ends_company_names() -> None:
    page = lay_out([(50, "El importe total se")], [(50, "abona en 30 dias")])
    places = dict.fromkeys(range(8), 0.9)
    assert decoded(page, payment_terms=places)["payment_terms"].value == "El importe total se abona en 30 dias"


def test_a_label_glued_to_its_value_is_cut_off() -> None:
    page = lay_out([(0, "Nr.:4711")], [(0, "USt-IdNr.:DE136695976")])
    found = decoded(page, document_number={0: 0.9}, seller_vat_id={1: 0.9})
    assert found["document_number"].value == "4711"
    assert found["seller_vat_id"].value == "DE136695976"


def test_dates_are_trimmed_to_what_is_a_date() -> None:
    page = lay_out([(0, "Date 31/03/2020 noon")])
    found = decoded(page, document_date={0: 0.6, 1: 0.9, 2: 0.6})
    assert found["document_date"].value == "2020-03-31"
    assert found["document_date"].printed == "31/03/2020"


def test_an_iban_must_have_right_check_digits_and_is_found_without_the_model() -> None:
    assert is_iban("DE89370400440532013000")
    assert not is_iban("DE88370400440532013000")
    page = lay_out([(0, "IBAN: DE89 3704 0044 0532 0130 00 BIC")], [(0, "DE88 3704 0044 0532 0130 00")])
    likely = dict.fromkeys(range(1, 7), 0.6) | dict.fromkeys(range(8, 14), 0.9)
    assert decoded(page, iban=likely)["iban"].value == "DE89370400440532013000"
    assert decoded(page) == {}
    found = decoded(page, iban={3: 0.1})
    assert found["iban"].value == "DE89370400440532013000"
    assert found["iban"].word_ids == (1, 2, 3, 4, 5, 6)


def test_the_currency_beside_the_total_is_taken_when_the_model_saw_none() -> None:
    page = lay_out([(0, "USD")], [(0, "5,00 €")], [(0, "5,00 €")])
    assert decoded(page, total_amount={1: 0.9})["currency"].value == "EUR"


@pytest.mark.parametrize(
    ("texts", "amount", "date"),
    [
        ("Rechnung 1.234 und 12,50", "1234.00", "2024-04-03"),
        ("invoice 1,234 and 12.50", "1234.00", "2024-04-03"),
        ("invoice 12.50 04/25/2024", "1234.00", "2024-03-04"),
    ],
)
def test_amounts_and_dates_are_read_in_the_manner_of_the_document(texts: Any, amount: Any, date: Any) -> None:
    manner = manner_of(texts.split())
    assert manner.canonical("1.234" if manner.decimal_mark == "," else "1,234", "amount") == amount
    assert manner.canonical("03/04/2024", "date") == date


def line_scores(page: Any, tags: Any) -> Any:
    scores = np.full((len(page.words), 1 + len(LINE_FIELDS)), 0.01, dtype=np.float32)
    for place, name in tags.items():
        scores[place, LINE_FIELDS.index(name) + 1] = 0.95
    return scores


def decode_rows(page: Any, tags: Any, starts: Any) -> Any:
    scroll = Scroll.of([page])
    first = np.zeros(len(page.words), dtype=np.float32)
    first[starts] = 0.9
    return decode_line_items(
        [page], line_scores(page, tags), first, default_labels(), scroll=scroll, manner=manner_of(scroll.words)
    )


def test_rows_end_where_the_next_begins_and_descriptions_wrap() -> None:
    page = lay_out(
        [(0, "1"), (40, "Steel bolt"), (200, "2"), (300, "5.00"), (400, "10.00")],
        [(40, "galvanised")],
        [(0, "2"), (40, "Nut"), (200, "3"), (300, "1.00"), (400, "3.00")],
    )
    names = ("line_number", "line_description", "line_quantity", "line_unit_price", "line_net_amount")
    tags = {0: names[0], 1: names[1], 2: names[1], 3: names[2], 4: names[3], 5: names[4], 6: names[1]}
    tags |= {7: names[0], 8: names[1], 9: names[2], 10: names[3], 11: names[4]}
    rows = decode_rows(page, tags, [0, 7])
    values = [{field.field: field.value for field in row.fields} for row in rows]
    assert [row.line_number for row in rows] == [1, 2]
    assert values[0]["line_description"] == "Steel bolt galvanised"
    assert values[1] == dict(zip(names, ("2", "Nut", "3", "1.00", "3.00"), strict=True))


def test_quantity_times_price_decides_between_close_columns() -> None:
    page = lay_out([(0, "Bolt"), (200, "4"), (260, "2.50"), (320, "9.00"), (400, "10.00")])
    scores = line_scores(page, {0: "line_description", 1: "line_quantity", 4: "line_net_amount"})
    scores[2, LINE_FIELDS.index("line_unit_price") + 1] = 0.4
    scores[3, LINE_FIELDS.index("line_unit_price") + 1] = 0.5
    scroll = Scroll.of([page])
    first = np.array([0.9, 0, 0, 0, 0], dtype=np.float32)
    (row,) = decode_line_items([page], scores, first, default_labels(), scroll=scroll, manner=manner_of(scroll.words))
    assert {field.field: field.value for field in row.fields}["line_unit_price"] == "2.50"


def test_candidates_never_cross_a_page() -> None:
    first, second = lay_out([(0, "Acme")]), lay_out([(0, "GmbH")])
    scroll = Scroll.of([first, second])
    found = candidates(
        scroll, np.array([0.9, 0.9]), field="seller_name", kind="string", manner=manner_of(scroll.words), least=0.1
    )
    assert sorted(candidate.value for candidate in found) == ["Acme", "GmbH"]


def test_an_empty_document_has_no_fields() -> None:
    page = lay_out()
    assert decoded(page) == {}
    assert decode_rows(page, {}, []) == ()


def test_groups_of_three_digits_are_one_amount_and_columns_are_not() -> None:
    page = lay_out([(0, "15 698,82"), (200, "4"), (300, "125,00")])
    scroll = Scroll.of([page])
    likely = np.array([0.9, 0.9, 0.9, 0.9])
    found = candidates(scroll, likely, field="net_amount", kind="amount", manner=manner_of(scroll.words), least=0.1)
    assert sorted(candidate.value for candidate in found) == ["125.00", "15698.82", "4.00"]


def test_a_mark_between_two_words_of_a_name_belongs_to_it() -> None:
    page = lay_out([(0, "Metallbau GmbH & Co. KG")])
    found = decoded(page, seller_name={0: 0.9, 1: 0.9, 3: 0.9, 4: 0.9})["seller_name"]
    assert found.printed == "Metallbau GmbH & Co. KG"


def test_dates_that_could_be_either_are_read_so_that_they_lie_close_together() -> None:
    near = manner_of("invoice date 12/09/2021 due date 01/08/2022 delivery 12/04/2021".split())
    assert near.canonical("12/09/2021", "date") == "2021-12-09"
    mixed = manner_of("invoice date 09-12-2021 due 08-01-2022 dated 03/24/2018".split())
    assert mixed.canonical("09-12-2021", "date") == "2021-12-09"
    assert mixed.canonical("03/04/2018", "date") == "2018-03-04"


def test_a_tax_that_the_model_missed_is_what_a_sure_total_leaves() -> None:
    page = lay_out([(0, "100.00")], [(0, "19.00")], [(0, "119.00")])
    found = decoded(page, net_amount={0: 0.9}, total_amount={2: 0.8})
    assert found["tax_amount"].value == "19.00"
    assert found["tax_amount"].word_ids == (1,)
    assert found["tax_amount"].confidence < 0.8
    assert "tax_amount" not in decoded(page, net_amount={0: 0.9}, total_amount={2: 0.4})
    elsewhere = lay_out([(0, "100.00")], [(0, "18.00")], [(0, "119.00")])
    assert "tax_amount" not in decoded(elsewhere, net_amount={0: 0.9}, total_amount={2: 0.8})


def test_a_net_that_was_missed_is_not_made_up_from_the_others() -> None:
    page = lay_out([(0, "100.00")], [(0, "19.00")], [(0, "119.00")])
    assert "net_amount" not in decoded(page, tax_amount={1: 0.9}, total_amount={2: 0.8})


def test_what_is_deducted_is_stated_without_its_sign() -> None:
    page = lay_out([(0, "Discount"), (90, "-12.50")])
    found = candidates(
        Scroll.of([page]), np.array([0.0, 0.9], dtype=np.float32), field="allowance_amount", kind="amount",
        manner=manner_of(page.words), least=0.1,
    )  # fmt: skip
    assert [one.value for one in found] == ["12.50"]


def items_of(page: Any, starts: dict[int, float], **tagged: Any) -> Any:
    scores = np.zeros((len(page.words), 1 + len(LINE_FIELDS)), dtype=np.float32)
    for name, places in tagged.items():
        for place, value in places.items():
            scores[place, LINE_FIELDS.index(name) + 1] = value
    scores[:, 0] = 1.0 - scores[:, 1:].sum(axis=1)
    rows = np.zeros(len(page.words), dtype=np.float32)
    for place, value in starts.items():
        rows[place] = value
    scroll = Scroll.of([page])
    return decode_line_items([page], scores, rows, default_labels(), scroll=scroll, manner=manner_of(page.words))


def test_an_item_begins_where_numbers_are_said_again_though_its_first_word_was_missed() -> None:
    page = lay_out(*[[(0, f"Thing{n}"), (100, "2"), (200, "5.00"), (300, "10.00")] for n in range(3)])
    tagged = {
        "line_description": {0: 0.9, 4: 0.9, 8: 0.9}, "line_quantity": {1: 0.9, 5: 0.9, 9: 0.9},
        "line_unit_price": {2: 0.9, 6: 0.9, 10: 0.9}, "line_net_amount": {3: 0.9, 7: 0.9, 11: 0.9},
    }  # fmt: skip
    found = items_of(page, {0: 0.9}, **tagged)
    assert [item.fields[0].value for item in found] == ["Thing0", "Thing1", "Thing2"]
    assert all(len(item.fields) == 4 for item in found)


def test_an_amount_that_stands_lower_belongs_to_the_item_above() -> None:
    page = lay_out([(0, "Thing"), (100, "2"), (200, "5.00")], [(0, "40123"), (300, "10.00")])
    tagged = {
        "line_description": {0: 0.9}, "line_quantity": {1: 0.9}, "line_unit_price": {2: 0.9},
        "line_material_number": {3: 0.6}, "line_net_amount": {4: 0.9},
    }  # fmt: skip
    (item,) = items_of(page, {0: 0.9, 3: 0.7}, **tagged)
    assert {field.field: field.value for field in item.fields}["line_net_amount"] == "10.00"
