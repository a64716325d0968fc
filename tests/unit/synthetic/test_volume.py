"""The volume tier: its boxes against ink and against the reader, its truth against the facts, and its bytes.

The boxes come from font metrics. Ink is the page rendered at 600 dpi by PDFium; the reader is the one that foreign
files go through, so what a model learns here is what it will be given.
"""

import hashlib
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sap_llm.reading.lines import order_pages, order_with_margin, order_words
from sap_llm.reading.words import read_page
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.page import Page
from sap_llm.schema.tables import CORPUS
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.synthetic import formats
from sap_llm.synthetic.facts import BusinessFactsConfig, build_business_facts, fact_rows
from sap_llm.synthetic.request import LANGUAGES, Request, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig, build_synthetic_docs, make_document, make_documents
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.fonts import FAMILIES, face
from sap_llm.synthetic.workers import in_order
from tests.unit.synthetic.test_ink import HALF_COVERED, boxes_of, farthest, ink_of, widest

# PDFium sets glyphs on whole pixels, so that ink moves by up to half a pixel of its own: over 197 pages of random
# worlds the dark pixel farthest from its word's box was 0 away on nine pages of ten, 0.83 at most.
OUTSIDE_PIXELS = 1.0  # of 600 dpi, for pixels of which half is covered
TOO_WIDE_PIXELS = 1.5  # the pixel that ink begins in, and the same rounding; 1.24 at most
LIFTED = 1 / 40  # of the letters' height: PDFium's boxes stand above the ink
CUT_OFF = 1 / 200  # of the letters' height: PDFium's bounds are of control points, in whole thousandths of the size
AGREED_POINTS = 0.002

Rows = dict[str, list[dict[str, Any]]]
WORLDS = st.tuples(st.integers(0, 10**6), st.integers(0, 400), st.integers(0, 10**6))
"""Seed, number of a world, and what picks a document of it."""
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def config(seed: int = 5, **values: Any) -> SyntheticDocsConfig:
    given: dict[str, Any] = {
        "seed": seed, "workers": 1, "test_layout_share": 0.3, "untitled_share": 0.2, "foreign_language_share": 0.1,
        "tier": "volume", "volume_share": 1.0,
    }  # fmt: skip
    return SyntheticDocsConfig(**(given | values))


def facts_of(seed: int, *, chains: int = 2, lines: int = 26) -> BusinessFactsConfig:
    return BusinessFactsConfig(seed=seed, chains_per_world=chains, lines_max=lines)


def document(world: tuple[int, int, int]) -> tuple[dict[str, Any], Rows]:
    """A document that the volume tier itself has drawn."""
    seed, number, pick = world
    facts = list(fact_rows(number, facts_of(seed)))
    random.Random(pick).shuffle(facts)
    for fact in facts:
        rows = make_document(fact, config(seed))
        if is_drawn(rows):
            return fact, rows
    raise AssertionError(f"no document of world {number} of seed {seed} fits its layout")


def is_drawn(rows: Rows) -> bool:
    return bool(rows.get("blobs")) and b"SAPLLM+" in rows["blobs"][0]["content"]


def pages_of(rows: Rows) -> Iterator[tuple[Page, Page]]:
    """Each page as the rows have it and as the reader finds it."""
    file = pdfium.PdfDocument(rows["blobs"][0]["content"])
    assert len(file) == len(rows["pages"])
    for index, row in enumerate(rows["pages"]):
        yield Page.from_row(row), read_page(file[index], page_number=index + 1)


def agree_with_the_reader(world: tuple[int, int, int]) -> None:
    _, rows = document(world)
    for ours, read in pages_of(rows):
        assert ours.words == read.words
        assert (ours.width, ours.height) == pytest.approx((read.width, read.height))
        assert np.abs(ours.boxes - read.boxes).max(initial=0.0) <= AGREED_POINTS
        assert ours.lines.tolist() == read.lines.tolist()
        assert (ours.boxes[:, 2:] <= (ours.width + 1, ours.height + 1)).all(), "words beyond the page"


def lie_on_ink(world: tuple[int, int, int]) -> None:
    _, rows = document(world)
    assert len(rows["pages"][0]["words"]) > 15
    for row in rows["pages"]:
        page = Page.from_row(row)
        ink = ink_of(rows["blobs"][0]["content"], page.page_number)
        boxes = boxes_of(page, ink)
        tallest = (boxes[:, 3] - boxes[:, 1]).max()
        too_wide = TOO_WIDE_PIXELS + CUT_OFF * tallest
        assert farthest(ink, boxes, HALF_COVERED) <= OUTSIDE_PIXELS + CUT_OFF * tallest
        left, upper, right, lower = widest(ink, boxes)
        assert max(left, right, lower) <= too_wide
        assert upper <= too_wide + LIFTED * tallest


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tracking", [-20, 0, 40])
def test_words_begin_and_end_with_the_ink_of_their_first_and_last_letter(family: str, tracking: int) -> None:
    for is_bold in (False, True):
        cut = face(family, is_bold=is_bold, tracking=tracking)
        letters = sorted(cut.advances.keys() - {" "})
        chosen = [*map(ord, letters)]
        measures = cut.measures
        advance, left, right = measures.advances[chosen], measures.lefts[chosen], measures.rights[chosen]
        # Of any two neighbours; with positive advances it holds for letters farther apart as well.
        assert (advance > 0).all()
        assert (advance[:, None] + left[None, :] >= left[:, None]).all()
        assert (advance[:, None] + right[None, :] >= right[:, None]).all()


@FEW
@given(WORLDS)
def test_words_and_boxes_are_those_that_the_reader_finds(world: tuple[int, int, int]) -> None:
    agree_with_the_reader(world)


@pytest.mark.slow
@MANY
@given(WORLDS)
def test_words_and_boxes_of_many_documents_are_those_of_the_reader(world: tuple[int, int, int]) -> None:
    agree_with_the_reader(world)


@settings(FEW, max_examples=4)
@given(WORLDS)
def test_ink_lies_in_tight_word_boxes(world: tuple[int, int, int]) -> None:
    lie_on_ink(world)


@pytest.mark.slow
@settings(MANY, max_examples=30)
@given(WORLDS)
def test_ink_of_many_documents_lies_in_tight_word_boxes(world: tuple[int, int, int]) -> None:
    lie_on_ink(world)


@FEW
@given(WORLDS)
def test_every_entry_spells_what_its_words_say(world: tuple[int, int, int]) -> None:
    fact, rows = document(world)
    pages = {page["page_number"]: Page.from_row(page) for page in rows["pages"]}
    (annotation,) = rows["annotations"]
    lines = [field for item in annotation["line_items"] for field in item["fields"]]
    for entry in annotation["fields"] + lines:
        page = pages[entry["page"]]
        assert entry["word_ids"] == sorted(set(entry["word_ids"]))
        assert entry["printed"] == " ".join(page.words[index] for index in entry["word_ids"])
        assert entry["box"] == pytest.approx(page.union(entry["word_ids"]))
    for table in annotation["tables"]:
        words = pages[table["page"]].words
        for cell in table["cells"]:
            assert cell["text"] == " ".join(words[index] for index in cell["word_ids"])
    payload = json.loads(fact["payload"])
    for item, line in zip(annotation["line_items"], payload["lines"], strict=True):
        names = [entry["field"] for entry in item["fields"]]
        assert len(names) == len(set(names))
        (described,) = (entry for entry in item["fields"] if entry["field"] == "line_description")
        assert described["printed"].split() == line["description"].split()
    assert [item["line_number"] for item in annotation["line_items"]] == [line["number"] for line in payload["lines"]]


@FEW
@given(WORLDS)
def test_fields_have_the_values_of_the_facts(world: tuple[int, int, int]) -> None:
    fact, rows = document(world)
    payload = json.loads(fact["payload"])
    found = {entry["field"]: entry for entry in rows["annotations"][0]["fields"]}
    assert found["document_number"]["value"] == payload["document_number"]
    assert found["document_number"]["printed"].replace(" ", "") == payload["document_number"].replace(" ", "")
    for name in ("document_date", "due_date", "net_amount", "total_amount", "tax_amount"):
        if name in found:
            assert found[name]["value"] == payload[name]
    for name in ("seller_name", "buyer_name"):
        if name in found:
            expected = " ".join(payload[name[:-5]]["name"].split()).casefold()
            assert found[name]["printed"].casefold().rstrip(",") == expected  # a comma may be glued to it
    assert any(block["kind"] == "table" for block in rows["annotations"][0]["layout_blocks"])
    assert rows["documents"][0]["event_time"].date() == date.fromisoformat(payload["document_date"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_and_many_lines_are_drawn_over_several_pages(language: str) -> None:
    request = Request(facts=facts_of(11, lines=60, chains=8), documents=config(11), languages=(language,))
    long = (fact for fact in wanted_facts(request) if len(json.loads(fact["payload"])["lines"]) > 20)
    drawn = (rows for rows in (make_document(fact, config(11)) for fact in islice(long, 40)) if is_drawn(rows))
    rows = next(rows for rows in drawn if len(rows["annotations"][0]["tables"]) > 1)
    assert rows["documents"][0]["language"] == language
    assert [table["page"] for table in rows["annotations"][0]["tables"]][:2] == [1, 2]


def test_nearly_all_documents_are_drawn_and_the_rest_is_typeset() -> None:
    facts = [fact for number in range(12) for fact in fact_rows(number, facts_of(3))]
    made = [make_document(fact, config(3)) for fact in facts]
    assert sum(map(is_drawn, made)) >= 0.95 * len(facts)
    assert sum(bool(rows["quarantine"]) for rows in made) <= 0.02 * len(facts)


def test_a_mixed_tier_sets_each_layout_by_one_way() -> None:
    facts = list(fact_rows(0, facts_of(3, chains=12)))
    tiers: dict[str, set[bool]] = {}
    for fact in facts:
        rows = make_document(fact, config(3, tier="mixed", volume_share=0.5, test_layout_share=0.0))
        if rows.get("documents"):
            tiers.setdefault(rows["documents"][0]["layout"], set()).add(is_drawn(rows))
    assert {True} in tiers.values()
    assert {False} in tiers.values()


def test_bytes_depend_on_nothing_that_was_drawn_before() -> None:
    facts = [fact for number in range(3) for fact in fact_rows(number, facts_of(8, chains=5))]
    forwards = {fact["document_id"]: _digest(fact, seed=8) for fact in facts}
    backwards = {fact["document_id"]: _digest(fact, seed=8) for fact in reversed(facts)}
    assert forwards == backwards


def _digest(fact: dict[str, Any], *, seed: int) -> str:
    return hashlib.sha256(repr(make_document(fact, config(seed))).encode()).hexdigest()


def test_documents_of_a_batch_are_those_that_are_made_alone() -> None:
    facts = [fact for number in range(2) for fact in fact_rows(number, facts_of(8))]
    together, tiers = make_documents(facts, config(8))
    assert tiers["volume"] > 20
    alone = [make_document(fact, config(8)) for fact in facts]
    for name, table in together.items():
        table.validate(full=True)
        assert table.schema.equals(CORPUS[name])
        rows = sorted(map(repr, table.to_pylist()))
        assert rows == sorted(repr(row) for made in alone for row in made.get(name, ()))


def test_a_due_date_has_a_discount_only_where_the_terms_have_one() -> None:
    facts = [fact for number in range(16) for fact in fact_rows(number, facts_of(3, chains=3))]
    bills = [fact for fact in facts if fact["document_type"] in ("SUPPLIER_INVOICE", "CUSTOMER_INVOICE")]
    templates = [one for name in LANGUAGES for one in labels(name)["due_sentence"] if "{discount_date}" in one]
    discounts = re.compile("|".join(re.sub(r"\\{\w+\\}", ".{1,24}?", re.escape(one)) for one in templates))
    for days, percent in ((10, "2"), (0, "0")):
        terms = {"days": 30, "discount_days": days, "discount_percent": percent}
        changed = [fact | {"payload": json.dumps(json.loads(fact["payload"]) | {"terms": terms})} for fact in bills]
        pages = make_documents(changed, config(3, test_layout_share=0.0))[0]["pages"].column("words").to_pylist()
        assert any(discounts.search(" ".join(words)) for words in pages) == (days > 0)


def test_pages_ordered_together_are_ordered_as_each_alone() -> None:
    random_numbers = np.random.default_rng(3)
    counts = random_numbers.integers(1, 40, 60)
    pages = np.repeat(np.arange(60), counts)
    bottoms = random_numbers.integers(0, 60, len(pages)) * random_numbers.choice([0.3, 2.5, 7.0], 60)[pages]
    lefts = random_numbers.random(len(pages)) * 500
    heights = random_numbers.choice([4.0, 8.0, 8.0, 20.0], len(pages))
    boxes = np.stack([lefts, bottoms - heights, lefts + 10, bottoms], axis=1)
    order, lines, margins = order_pages(boxes, bottoms, pages)
    for page in range(60):
        words = np.flatnonzero(pages == page)
        alone, own_lines, margin = order_with_margin(boxes[words], bottoms[words])
        assert words[alone].tolist() == order[pages == page].tolist()
        assert own_lines.tolist() == lines[pages == page].tolist()
        assert margins[page] == pytest.approx(margin)


@pytest.mark.slow
def test_bytes_are_the_same_in_other_processes() -> None:
    facts = [fact for number in range(2) for fact in fact_rows(number, facts_of(8))]
    here = [_digest(fact, seed=8) for fact in facts]
    assert list(in_order(partial(_digest, seed=8), facts, workers=2)) == here


@pytest.mark.slow
def test_the_stage_has_one_logical_hash_for_any_number_of_workers(tmp_path: Path) -> None:
    hashes = set()
    for workers in (1, 2):
        clock = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC))
        context = StageContext(store=DatasetStore(tmp_path / str(workers)), clock=clock)
        facts = build_business_facts(context, config=facts_of(7), seed_range="0000-0004").ref
        built = build_synthetic_docs(context, config=config(7, workers=workers), facts=facts, seed_range="0000-0004")
        hashes.add(built.dataset.manifest.data_version)
    assert len(hashes) == 1


@FEW
@given(
    st.decimals(min_value=-(10**9), max_value=10**9, places=2) | st.integers(-(10**9), 10**9),
    st.sampled_from(((".", ","), (",", "."), ("", ","), (" ", ","))),
    st.sampled_from((0, 1, 2, 4)),
)
def test_the_short_way_to_print_a_decimal_agrees_with_arithmetic(
    value: Any, shape: tuple[str, str], places: int
) -> None:
    text = str(value)
    longer = f"{text}00000" if "." in text else f"{text}.00000"  # too many digits for the short way
    assert formats.decimal(text, shape, places=places) == formats.decimal(longer, shape, places=places)


def test_the_margin_says_how_safe_a_reading_order_is() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 3, 30, 13], [0, 40, 10, 50]], dtype=float)
    order, lines, margin = order_with_margin(boxes, (boxes[:, 1] + boxes[:, 3]) / 2)
    assert (order.tolist(), lines.tolist()) == tuple(part.tolist() for part in order_words(boxes))
    assert margin == pytest.approx(0.5)  # 3 points apart, 3.5 are one line
    moved = boxes + np.array([0, margin * 0.4, 0, margin * 0.4]) * np.array([[0], [1], [0]])
    assert order_words(moved)[0].tolist() == order.tolist()


@pytest.mark.skipif(shutil.which("qpdf") is None, reason="qpdf is not installed")
def test_files_are_well_formed_for_another_reader(tmp_path: Path) -> None:
    for world in ((1, 1, 1), (2, 9, 3), (3, 30, 2)):
        path = tmp_path / "file.pdf"
        path.write_bytes(document(world)[1]["blobs"][0]["content"])
        checked = subprocess.run(["qpdf", "--check", str(path)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
