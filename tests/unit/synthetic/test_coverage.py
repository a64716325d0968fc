"""Every class and subtype of the taxonomy is made by chains, derived from them, or listed as unlearnable."""

import re
from typing import Any

import pytest

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.synthetic.chains import make_chains
from sap_llm.synthetic.classes import class_table, trade_classes
from sap_llm.synthetic.pools import read_data
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.subtypes import subtype_table, subtype_weights
from sap_llm.synthetic.worlds import make_world

LANGUAGES = ("de", "en", "fr", "es")
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def coverage() -> dict[str, Any]:
    return read_data("coverage")


def test_every_class_is_made_or_derived() -> None:
    classes = {entry.name for entry in load_taxonomy().classes}
    assert set(trade_classes()) | set(coverage()["derived"]) == classes
    assert not set(trade_classes()) & set(coverage()["derived"])


def test_every_subtype_is_made_or_listed_with_a_reason() -> None:
    wanted = {f"{entry.name}.{one.name}" for entry in load_taxonomy().classes for one in entry.subtypes}
    made = {f"{kind}.{name}" for kind, names in subtype_table().items() for name in names}
    listed = coverage()["unlearnable"]
    assert made | set(listed) == wanted
    assert not made & set(listed)
    assert all(len(reason) > 30 for reason in listed.values())


def test_chains_make_every_class_and_subtype_that_they_promise() -> None:
    orders = dict.fromkeys(subtype_weights("PURCHASE_ORDER"), 1.0)
    met: set[tuple[str, str | None]] = set()
    for world in range(130):
        chains = make_chains(
            make_world(5, world), seed=5, count=3, sales=1, lines_max=4, order_subtypes=orders,
            invoice_subtypes=subtype_weights("SUPPLIER_INVOICE"),
        )  # fmt: skip
        met |= {(fact.document_type, fact.document_subtype) for fact in chains}
    assert {kind for kind, _ in met} == set(trade_classes())
    for kind, names in subtype_table().items():
        assert {subtype for made, subtype in met if made == kind} == set(names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_classes_have_words_in_every_language(language: str) -> None:
    words = labels(language)
    for name in trade_classes():
        assert len(set(words["titles"][name])) >= 5
        assert len(set(words["number"][name])) >= 6
        assert len(set(words["date"][name])) >= 5
        assert any(not PLACEHOLDER.search(sentence) for sentence in words["intro"][name])
    for concept in class_table().pairs:
        assert words[concept], concept
    assert set(class_table().columns) <= set(words["columns"])
    for spec in class_table().classes.values():
        assert all(words[heading] for heading in spec.headings.values())
        assert set(spec.marks) <= set(spec.pairs)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_subtype_but_the_plain_one_is_told_by_title_sentence_or_value(language: str) -> None:
    words = labels(language)
    for kind, names in subtype_table().items():
        for name, spec in names.items():
            key = f"{kind}.{name}"
            told = key in words["subtypes"] or key in words["subtype_notes"] or spec.shows or spec.columns
            assert told or name in ("STANDARD", "REVERSE_CHARGE"), key  # reverse charge is told by its tax sentence
            assert key not in words["subtype_notes"] or len(words["subtype_notes"][key]) >= 1
    assert set(words["exemptions"]) == {"reverse_charge", "intra_community", "export"}


def test_no_language_lacks_what_another_has() -> None:
    def shape(entry: Any) -> Any:
        return {key: shape(value) for key, value in entry.items()} if isinstance(entry, dict) else None

    for concept in ("titles", "number", "date", "intro", "subtypes", "subtype_notes", "noise", "columns"):
        shapes = [shape(labels(language)[concept]) for language in LANGUAGES]
        assert all(one == shapes[0] for one in shapes), concept
