"""The table of classes: in agreement with itself and with the taxonomy."""

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.synthetic.classes import class_spec, class_table, column_place, pair_place, trade_classes

OWN_WAY = {"buyer_vat_id", "seller_vat_id", "currency", "payment_terms", "page", "total_amount", "order_again", "iban"}
"""Pairs that blocks make themselves."""


def test_classes_are_those_of_the_taxonomy() -> None:
    assert set(trade_classes()) <= {entry.name for entry in load_taxonomy().classes}
    assert len(trade_classes()) == 28


def test_pairs_and_columns_have_a_place_and_fields_of_the_taxonomy() -> None:
    table = class_table()
    fields = {field.name: field for field in load_taxonomy().fields}
    for name, spec in table.classes.items():
        assert set(spec.pairs) <= set(table.pairs) | OWN_WAY, name
        assert set(spec.columns) <= set(table.columns), name
        assert all(0 < share <= 1 for share in (*spec.pairs.values(), *spec.columns.values()))
        assert spec.issuers
    assert all(fields[place.field].level == "header" for place in table.pairs.values() if place.field)
    assert all(fields[place.field].level == "line" for place in table.columns.values() if place.field)


def test_a_field_is_marked_only_where_the_class_has_it() -> None:
    first, second = pair_place("order_date", "SUPPLIER_INVOICE"), pair_place("order_date", "PURCHASE_REQUISITION")
    assert first is not None
    assert second is not None
    assert (first.field, second.field) == ("order_date", "")
    assert column_place("confirmed_quantity", "PURCHASE_ORDER") is not None
    assert pair_place("page", "PURCHASE_ORDER") is None
    assert class_spec("GOODS_RECEIPT").prices == "none"
