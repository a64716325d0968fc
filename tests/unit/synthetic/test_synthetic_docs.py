"""Typeset documents: boxes, words of values, test layouts, determinism, shares and diversity."""

import io
import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pytest
import yaml
from PIL import Image

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.tables import CORPUS
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import DEDUCTIONS, canonical
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.synthetic import stage
from sap_llm.synthetic.blocks_parties import STRANGERS, party_of
from sap_llm.synthetic.card import PAGES, REPORT, card, picture
from sap_llm.synthetic.facts import BusinessFactsConfig, build_business_facts, fact_rows
from sap_llm.synthetic.layouts import compose
from sap_llm.synthetic.links import erase_marks, locate_marks
from sap_llm.synthetic.markup import Sheet, text
from sap_llm.synthetic.stage import (
    SyntheticDocsConfig,
    build_synthetic_docs,
    is_test_world,
    issuer_style,
    make_draft,
    typeset_fact,
)
from sap_llm.synthetic.style import TEST_STYLES, Style, labels
from sap_llm.synthetic.typeset import compile_source, overprinted, typeset
from sap_llm.synthetic.worlds import make_world

CONFIG = SyntheticDocsConfig(
    seed=7,
    workers=1,
    test_layout_share=0.25,
    untitled_share=0.2,
    foreign_language_share=0.1,
    tier="typeset",
    volume_share=0.0,
)
FACTS_CONFIG = BusinessFactsConfig(seed=7, chains_per_world=2, sales_per_world=1, lines_max=10)
SEED_RANGE = "0000-0007"


def context_at(folder: Path) -> StageContext:
    return StageContext(store=DatasetStore(folder), clock=FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    context = context_at(tmp_path_factory.mktemp("store"))
    facts = build_business_facts(context, config=FACTS_CONFIG, seed_range=SEED_RANGE)
    return build_synthetic_docs(context, config=CONFIG, facts=facts.ref, seed_range=SEED_RANGE)


@pytest.fixture(scope="module")
def tables(corpus: BuildResult) -> dict[str, list[dict[str, Any]]]:
    return {name: corpus.dataset.table(name).to_pylist() for name in CORPUS}


def entries(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    return annotation["fields"] + [field for item in annotation["line_items"] for field in item["fields"]]


def test_all_facts_become_documents_or_quarantine_rows(corpus: BuildResult, tables: dict[str, Any]) -> None:
    facts = corpus.manifest.inputs["facts"]
    assert facts.name == f"business_facts/{SEED_RANGE}"
    kept = {row["document_id"] for row in tables["documents"]}
    refused = {row["record"] for row in tables["quarantine"]}
    assert len(kept) + len(refused) == len(kept | refused) > 80
    assert len(refused) <= 0.03 * len(kept)
    assert {row["document_id"] for row in tables["pages"]} == kept
    assert {row["document_id"] for row in tables["annotations"]} == kept
    assert {row["sha256"] for row in tables["documents"]} == {row["sha256"] for row in tables["blobs"]}
    assert corpus.manifest.metrics["documents"] == len(kept)


def test_word_boxes_agree_with_an_independent_read_back(tables: dict[str, Any]) -> None:
    contents = {row["sha256"]: row["content"] for row in tables["blobs"]}
    pages: dict[str, list[dict[str, Any]]] = {}
    for row in tables["pages"]:
        pages.setdefault(row["document_id"], []).append(row)
    checked = 0
    for document in tables["documents"][::5]:
        opened = pdfium.PdfDocument(contents[document["sha256"]])
        assert len(opened) == document["page_count"]
        for row in pages[document["document_id"]]:
            checked += _check_page(opened[row["page_number"] - 1], row)
    assert checked > 1500


def _check_page(page: pdfium.PdfPage, row: dict[str, Any]) -> int:
    """Group the characters of pypdfium2's own helper by white space and compare boxes word by word."""
    text, height = page.get_textpage(), page.get_height()
    found: dict[str, list[np.ndarray]] = {}
    word, boxes = "", []
    for index in range(text.count_chars()):
        char = text.get_text_range(index, 1)
        if char.strip() and char != "\ufffe":
            word += char
            left, bottom, right, top = text.get_charbox(index)
            boxes.append((left, height - top, right, height - bottom))
        elif word:
            edges = np.array(boxes)
            found.setdefault(word, []).append(np.array([*edges[:, :2].min(axis=0), *edges[:, 2:].max(axis=0)]))
            word, boxes = "", []
    if word:
        edges = np.array(boxes)
        found.setdefault(word, []).append(np.array([*edges[:, :2].min(axis=0), *edges[:, 2:].max(axis=0)]))
    compared = 0
    for text_here, box in zip(row["words"], row["boxes"], strict=True):
        if text_here in found:  # the reader also splits at wide gaps; those words are no match here
            assert min(np.abs(twin - np.array(box)).max() for twin in found[text_here]) <= 0.1
            compared += 1
    assert compared >= 0.95 * len(row["words"])
    return compared


def test_words_of_every_value_renormalise_to_it(tables: dict[str, Any]) -> None:
    types = {field.name: field.type for field in load_taxonomy().fields}
    words = {(row["document_id"], row["page_number"]): row for row in tables["pages"]}
    languages = {row["document_id"]: row["language"] for row in tables["documents"]}
    checked: Counter[str] = Counter()
    for annotation in tables["annotations"]:
        for entry in entries(annotation):
            page = words[annotation["document_id"], entry["page"]]
            printed = " ".join(page["words"][index] for index in entry["word_ids"])
            assert printed == entry["printed"]
            value = entry["value"]
            if entry["field"] in DEDUCTIONS and "-" in printed:
                value = f"-{value}"
            assert _says(printed, value, types[entry["field"]], languages[annotation["document_id"]]), entry
            edges = np.array([page["boxes"][index] for index in entry["word_ids"]])
            expected = [*edges[:, :2].min(axis=0), *edges[:, 2:].max(axis=0)]
            assert np.allclose(entry["box"], expected, atol=1e-3)
            checked[entry["field"]] += 1
    assert len(checked) >= 24
    assert checked["total_amount"] > 40


def _says(printed: str, value: str, kind: str, language: str) -> bool:
    if kind == "string":
        return value.replace(" ", "").casefold() in printed.replace(" ", "").casefold()
    bare = printed.strip(".,;:()[]")
    return any(canonical(text, kind, language=language) == canonical(value, kind) for text in (printed, bare))


def test_printed_amounts_are_those_of_the_facts(corpus: BuildResult, tables: dict[str, Any], tmp_path: Path) -> None:
    context = context_at(tmp_path)
    facts = build_business_facts(context, config=FACTS_CONFIG, seed_range=SEED_RANGE).dataset.table("facts").to_pylist()
    totals = {row["document_id"]: row["total_amount"] for row in facts}
    for annotation in tables["annotations"]:
        for entry in annotation["fields"]:
            if entry["field"] == "total_amount":
                assert Decimal(entry["value"]) == totals[annotation["document_id"]]


def test_main_fields_line_items_tables_and_blocks_are_there(tables: dict[str, Any]) -> None:
    for annotation in tables["annotations"]:
        names = {entry["field"] for entry in annotation["fields"]}
        assert {"document_number"} <= names
        assert names & {"seller_name", "buyer_name"}
        assert annotation["line_items"]
        assert annotation["tables"]
        assert {block["kind"] for block in annotation["layout_blocks"]} >= {"table"}
        for table in annotation["tables"]:
            assert all(cell["row"] < table["rows"] and cell["column"] < table["columns"] for cell in table["cells"])
    kinds = {block["kind"] for annotation in tables["annotations"] for block in annotation["layout_blocks"]}
    assert kinds == {"header", "address", "table", "totals", "text", "footer"}


def test_file_keeps_no_trace_of_the_truth(tables: dict[str, Any]) -> None:
    for row in tables["blobs"]:
        assert b"/Annot" not in row["content"]
        assert b"/URI" not in row["content"]


def test_test_layouts_never_occur_in_training_worlds(tables: dict[str, Any]) -> None:
    sides: dict[str, set[bool]] = {}
    for row in tables["documents"]:
        sides.setdefault(row["split_group"], set()).add(row["is_test_layout"])
        assert (row["layout"] in TEST_STYLES) == row["is_test_layout"]
    assert all(len(side) == 1 for side in sides.values())
    assert {True, False} == {flag for side in sides.values() for flag in side}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.15, 0.3])
def test_share_of_test_worlds_is_the_configured_one(share: float) -> None:
    assert abs(sum(is_test_world(number, share) for number in range(400)) / 400 - share) < 0.005


@pytest.mark.parametrize("language", ["de", "en", "fr", "es"])
def test_reserved_words_are_unknown_to_training_layouts(language: str) -> None:
    reserved = labels(language)["test_only"]
    trained = Style(seed="train-x", language=language, country="DE", is_test=False)
    tested = [Style(seed=seed, language=language, country="DE", is_test=True) for seed in TEST_STYLES]
    for concept in ("total_amount", "order_reference"):
        assert not set(reserved[concept]) & set(trained.synonyms(concept))
        assert {style.word(concept) for style in tested} & set(reserved[concept])
    assert (
        len(
            {
                Style(seed=f"train-{n}", language=language, country="DE", is_test=False).word("total_amount")
                for n in range(80)
            }
        )
        >= 10
    )


def test_hash_does_not_depend_on_the_number_of_workers(corpus: BuildResult, tmp_path: Path) -> None:
    context = context_at(tmp_path)
    facts = build_business_facts(context, config=FACTS_CONFIG, seed_range=SEED_RANGE)
    config = CONFIG.model_copy(update={"workers": 2})
    parallel = build_synthetic_docs(context, config=config, facts=facts.ref, seed_range=SEED_RANGE)
    assert parallel.manifest.data_version == corpus.manifest.data_version
    assert parallel.ref == corpus.ref


def test_bytes_do_not_depend_on_what_was_typeset_before() -> None:
    config = CONFIG.model_copy(update={"test_layout_share": 1.0})  # reserved layouts are shared by classes
    facts = list(fact_rows(0, FACTS_CONFIG.model_copy(update={"chains_per_world": 4})))

    def typeset_all(order: list[dict[str, Any]]) -> dict[str, str]:
        stage._style.cache_clear()
        rows = [typeset_fact(fact, config) for fact in order]
        return {row["document_id"]: row["sha256"] for one in rows for row in one.get("documents", ())}

    first = typeset_all(facts)
    assert len(first) > 20
    assert typeset_all(facts[::-1]) == first


def tiny(name: str) -> dict[str, Any]:
    path = Path(__file__).parents[3] / "configs" / "tiny" / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values


def test_tiny_profile_has_hundreds_of_layouts_four_languages_and_the_share_of_bad_titles(tmp_path: Path) -> None:
    config = SyntheticDocsConfig(**tiny("synthetic_docs"))
    built = build_business_facts(
        context_at(tmp_path), config=BusinessFactsConfig(**tiny("business_facts")), seed_range="0000-0079"
    )
    facts = built.dataset.table("facts").to_pylist()
    styles = {
        (fact["world"], fact["issuer"], fact["document_type"]): issuer_style(fact, json.loads(fact["payload"]), config)
        for fact in facts
    }
    assert len({style.seed for style in styles.values()}) >= 400
    structures = {
        tuple(style.rng(name).random() for name in ("family", "arrangement/info", "totals", "column_order"))
        for style in styles.values()
    }
    assert len(structures) >= 400
    assert {style.language for style in styles.values()} == {"de", "en", "fr", "es"}
    untitled = sum(not make_draft(fact, config).is_titled for fact in facts) / len(facts)
    assert abs(untitled - config.untitled_share) < 0.03
    tested = sum(style.is_test for style in styles.values()) / len(styles)
    assert 0.08 < tested < 0.22


def test_third_parties_look_like_the_others_but_are_no_fields(tmp_path: Path) -> None:
    built = build_business_facts(context_at(tmp_path), config=FACTS_CONFIG, seed_range="0000-0039")
    strangers = 0
    for fact in built.dataset.table("facts").to_pylist():
        draft = make_draft(fact, CONFIG)
        source = compose(draft)
        names = {party_of(draft, role)["name"] for role in STRANGERS}
        known = {draft.facts[role]["name"] for role in ("seller", "buyer")}
        strangers += any(text(name) in source for name in names - known)
        for mark in draft.sheet.marks:
            if mark.field in ("seller_name", "buyer_name", "seller_vat_id", "buyer_vat_id"):
                role, _, attribute = mark.field.partition("_")
                assert mark.value == draft.facts[role][attribute]
    assert strangers >= 20


def test_some_buyers_are_persons_and_some_parties_placeholders() -> None:
    worlds = [make_world(7, number) for number in range(150)]
    buyers = [party for world in worlds for party in (*world.companies, *world.customers)]
    vendors = [party for world in worlds for party in world.vendors]
    assert 0.04 < sum(bool(party.salutation) for party in buyers) / len(buyers) < 0.18
    assert not any(party.salutation for party in vendors)
    assert any(party.name.endswith("_NAME") and party.address["city"].endswith("_CITY") for party in vendors)


def test_wrapped_value_gives_all_its_words() -> None:
    name = "Vereinigte Werke Nord und Söhne GmbH"
    value = Sheet().value("buyer_name", name, name)
    done = typeset(f'#{{set page(width:120pt,height:200pt,margin:10pt)\ntext(size:10pt,{value}+" Ende")}}')
    page = done.pages[0]
    assert [page.words[index] for index in done.words[0, 1]] == name.split()
    assert len({int(line) for line in page.lines[done.words[0, 1]]}) > 1


@pytest.mark.parametrize("shift", ["dx:115pt", "dy:55pt"])
def test_words_beyond_the_page_are_found(shift: str) -> None:
    done = typeset(f'#{{set page(width:120pt,height:60pt,margin:0pt)\nplace({shift},text(size:10pt,"Ende"))}}')
    assert overprinted([], done) == ["Ende"]


def test_erased_file_has_the_same_length_and_text() -> None:
    compiled = compile_source('#{set page(width:200pt,height:80pt)\nlink("3","Wert")+" rest"}')
    erased = erase_marks(compiled)
    assert len(erased) == len(compiled)
    assert [mark.mark for mark in locate_marks(compiled)] == [3]
    assert locate_marks(erased) == []
    assert pdfium.PdfDocument(erased)[0].get_textpage().get_text_range() == "Wert rest"


def test_document_that_cannot_be_typeset_is_quarantined(tmp_path: Path) -> None:
    built = build_business_facts(context_at(tmp_path), config=FACTS_CONFIG, seed_range="0000-0000")
    fact = built.dataset.table("facts").to_pylist()[0]
    facts = json.loads(fact["payload"])
    facts["seller"]["name"] = "W" * 4000  # wider than any page: its words fall off
    facts["buyer"]["name"] = "M" * 4000
    rows = typeset_fact(fact | {"payload": json.dumps(facts)}, CONFIG)
    assert set(rows) == {"quarantine"}
    assert rows["quarantine"][0]["reason"] == "overprinted"
    assert rows["quarantine"][0]["record"] == fact["document_id"]


@pytest.mark.parametrize("tier", ["typeset", "volume"])
def test_some_layouts_print_the_code_of_their_class(tier: str) -> None:
    codes = {"SUPPLIER_INVOICE": {"380", "384", "386", "326", "325"}, "PURCHASE_ORDER": {"220"}, "CREDIT_NOTE": {"381"}}
    config = SyntheticDocsConfig(
        seed=3, workers=1, test_layout_share=0, untitled_share=0, foreign_language_share=0, tier=tier
    )
    facts = BusinessFactsConfig(seed=3, chains_per_world=1, sales_per_world=0, lines_max=3)
    shown = made = 0
    for number in range(60):
        for fact in fact_rows(number, facts):
            if fact["document_type"] not in codes:
                continue
            rows = stage.make_document(fact, config)
            if "annotations" not in rows:
                continue
            made += 1
            fields = rows["annotations"][0]["fields"]
            found = {field["value"] for field in fields if field["field"] == "document_type_code"}
            shown += bool(found)
            assert found <= codes[fact["document_type"]]
    assert 0.02 < shown / made < 0.15


def test_the_card_counts_what_was_made_and_its_picture_shows_pages_with_boxes(corpus: BuildResult) -> None:
    text = corpus.dataset.path(REPORT).read_text(encoding="utf-8")
    documents = corpus.dataset.table("documents")
    classes = Counter(documents.column("document_type").to_pylist())
    for name, count in classes.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name.lower()} |"))
        cells = [int(cell) for cell in row.strip("| ").split(" | ")[1:]]
        assert sum(cells[:-1]) == cells[-1] == count
    assert f"| set by the typeset tier | {documents.num_rows:,} (100.0%) |" in text
    assert f"| refused | {corpus.dataset.table('quarantine').num_rows} |" in text
    assert f"![pages]({PAGES})" in text
    content = corpus.dataset.path(PAGES).read_bytes()
    assert len(content) <= 60_000
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    green = (pixels[..., 1] - pixels[..., 0] > 40) & (pixels[..., 1] - pixels[..., 2] > 20)
    assert green.sum() > 500  # the boxes


def test_a_dataset_without_documents_has_a_card_without_a_picture(tmp_path: Path) -> None:
    empty = CORPUS["documents"].empty_table()
    assert picture(empty, lambda name: [CORPUS[name].empty_table()]) is None
    text = card("synthetic_docs/0000-0000", empty, {"overprinted": 2}, {})
    assert "| overprinted | 2 |" in text
    assert PAGES not in text
