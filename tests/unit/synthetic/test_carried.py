"""Sums that a table carries over its page breaks: right, in rows of their own, and no line items."""

import json
from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from typing import Any

import pytest

from sap_llm.schema.values import canonical
from sap_llm.synthetic import blocks_carried
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import LANGUAGES, Request, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig, make_draft, typeset_fact
from sap_llm.synthetic.style import labels

CONFIG = SyntheticDocsConfig(
    seed=3, workers=1, test_layout_share=0.0, untitled_share=0.0, foreign_language_share=0.0,
    tier="typeset", volume_share=0.0
)  # fmt: skip
FACTS = BusinessFactsConfig(seed=3, chains_per_world=3, lines_max=60)
A_LANGUAGE, FEWEST_LINES = 8, 20


def long_documents(language: str) -> Iterator[dict[str, Any]]:
    request = Request(facts=FACTS, documents=CONFIG, languages=(language,))
    long = (fact for fact in wanted_facts(request) if len(json.loads(fact["payload"])["lines"]) >= FEWEST_LINES)
    for fact in islice(long, A_LANGUAGE):
        rows = typeset_fact(fact, CONFIG)
        if not rows["quarantine"]:
            yield {"lines": make_draft(fact, CONFIG).facts["lines"], **rows["annotations"][0], "pages": rows["pages"]}


def is_one_of(printed: str, words: set[str]) -> bool:
    """Whether a label is one of the words, with a slip of the pen perhaps."""
    return bool(get_close_matches(printed.upper(), words, n=1, cutoff=0.8))


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_page_carries_the_sum_of_its_lines(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_carried, "_CARRIES", 1.0)
    words = labels(language)
    over, brought = (
        {word.upper() for kind in (words, words["test_only"]) for word in kind.get(name, ())}
        for name in ("carried_over", "carried_in")
    )
    carrying = 0
    for document in long_documents(language):
        on_page = [item["page"] for item in document["line_items"]]
        for table, following in zip(document["tables"], document["tables"][1:], strict=False):
            rows = [
                [cell["text"] for cell in one["cells"] if cell["row"] == place]
                for one, place in ((table, table["rows"] - 1), (following, 1))
            ]
            if len(rows[0]) != 2 or not is_one_of(rows[0][0], over):
                continue
            sums = [canonical(shown, "amount", language=language) for _, shown in rows]
            amounts = [
                Decimal(line["net_amount"])
                for line, page in zip(document["lines"], on_page, strict=True)
                if page <= table["page"]
            ]
            assert is_one_of(rows[1][0], brought)
            assert [Decimal(value) for value in sums if value] == [sum(amounts)] * 2
            carrying += 1
        printed = {field["printed"].upper() for item in document["line_items"] for field in item["fields"]}
        assert not printed & (over | brought)
    assert carrying > 0


def test_a_table_on_one_page_carries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_carried, "_CARRIES", 1.0)
    monkeypatch.setattr(blocks_carried, "_FEWEST_LINES", 2)
    words = {word.upper() for name in ("carried_over", "carried_in") for word in labels("en")[name]}
    single = 0
    for fact in islice(wanted_facts(Request(facts=FACTS, documents=CONFIG, languages=("en",))), 12):
        rows = typeset_fact(fact, CONFIG)
        if rows["annotations"] and len(rows["annotations"][0]["tables"]) == 1:
            text = {cell["text"].upper() for cell in rows["annotations"][0]["tables"][0]["cells"]}
            assert not text & words
            single += 1
    assert single > 3
