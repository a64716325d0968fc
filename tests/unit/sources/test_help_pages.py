"""Pages of documentation in `sap_knowledge`: texts beside those of services, field tables, certain links, fetching."""

from pathlib import Path
from typing import Any

import pytest

from sap_llm.schema.errors import SourceError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.sources.help_html import parse_html
from sap_llm.sources.help_pages import FieldLinks, page_rows
from sap_llm.sources.knowledge import SapKnowledgeConfig, build_sap_knowledge
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.help_site import BOILERPLATE, ENTITY, PURCHASE_ORDER, page
from tests.support.metadata_site import Server, document, says

QUICK = {"retry_seconds": 0.01, "attempts": 2}


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "store"))


def _build(context: StageContext, home: Path, **values: Any) -> BuildResult:
    config = SapKnowledgeConfig.model_validate({"fetch": QUICK, **values})
    return build_sap_knowledge(context, config=config, home=home, documents=None, cache=home / "cache")


def _rows(built: BuildResult, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = built.dataset.table(table).to_pylist()
    return rows


def _fields(body: str, properties: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    links = FieldLinks(load_taxonomy().fields, properties or [])
    return page_rows("p.html", "0" * 64, parse_html(page(body)), links)[2]


def test_a_folder_of_pages_and_services_is_one_corpus(context: StageContext, tmp_path: Path) -> None:
    folder = tmp_path / "sap"
    (folder / "help").mkdir(parents=True)
    entity = document("A").replace(b'EntityType Name="T"', b'EntityType Name="A_PurchaseOrder"')
    (folder / "a.edmx").write_bytes(entity)
    (folder / "help/order.html").write_bytes(page(PURCHASE_ORDER))
    (folder / "help/copy.HTM").write_bytes(page(PURCHASE_ORDER))
    (folder / "help/api.xhtml").write_bytes(page(ENTITY))
    (folder / "help/app.html").write_bytes(b"<html><body><div id=app></div><script>x()</script>")
    built = _build(context, tmp_path, folder="sap")
    assert {row["source"]: row["reason"] for row in _rows(built, "quarantine")} == {
        "help/app.html": "no_text",
        "help/order.html": "duplicate",
    }
    texts = {row["text_id"]: row for row in _rows(built, "corpus")}
    assert {key: row["kind"] for key, row in texts.items()} == {
        "a.edmx#A_PurchaseOrder": "entity_type",
        "help/copy.HTM#1": "help_page",
        "help/copy.HTM#2": "help_page",
        "help/copy.HTM#3": "help_page",
        "help/api.xhtml#1": "help_page",
        "help/api.xhtml#2": "help_page",
    }
    assert texts["help/copy.HTM#2"]["text"].splitlines() == [
        "Purchase Order > Header Data",
        "The header applies to the whole document.",
        "Fields of table EKKO",
        "Field: EBELN; Data Type: CHAR(10); Description: Purchasing document number",
        "Field: WAERS; Data Type: CUKY(5); Description: Currency key",
        "Field: ZZOWN; Data Type: CHAR(3); Description: A customer's own field",
        "; ".join(f"{head}: The remaining fields are internal." for head in ("Field", "Data Type", "Description")),
        "Steps",
        "- Choose the vendor.",
        "- Enter the BEDAT.",
        "SELECT ebeln",
        "  FROM ekko",
    ]
    assert texts["help/copy.HTM#3"]["text"].splitlines()[1:] == [
        "EKKO-BEDAT: Date of the purchasing document",
        "Incoterms: Terms of delivery",
    ]
    assert not any(word in row["text"] for row in texts.values() for word in BOILERPLATE)
    pages = {row["source"]: row for row in _rows(built, "help_pages")}
    assert pages["help/copy.HTM"]["licence"] == "https://creativecommons.org/licenses/by/4.0/"
    assert (pages["help/copy.HTM"]["language"], pages["help/copy.HTM"]["sections"]) == ("en", 3)
    linked = {(row["source"], row["table"], row["name"]): row for row in _rows(built, "help_fields")}
    (order,) = (row for key, row in linked.items() if key[1:] == ("EKKO", "EBELN"))
    assert order["taxonomy_fields"] == [spec.name for spec in load_taxonomy().fields if spec.sap == "EKKO-EBELN"]
    assert order["heading"] == "Purchase Order > Header Data"
    assert linked["help/copy.HTM", "EKKO", "ZZOWN"]["taxonomy_fields"] == []
    own = [row for row in _rows(built, "help_fields") if row["source"] == "help/api.xhtml"]
    first, other = (row for row in own if row["name"] == "EBELN")
    assert first["properties"] == ["a.edmx#A_PurchaseOrder/EBELN"]
    assert "document_number" in first["taxonomy_fields"]
    assert (other["properties"], other["taxonomy_fields"]) == ([], []), "an entity type that no service has"
    metrics = built.manifest.metrics
    assert (metrics["help_pages"], metrics["help_fields"], metrics["help_linked"]) == (2, 7, 4)
    assert "2 pages of documentation with 7 rows" in built.dataset.path("report.md").read_text()


def test_a_table_and_a_field_in_two_columns_or_one_name_a_field() -> None:
    two = "<table><tr><th>Tabelle<th>Feld<th>Bezeichnung</tr><tr><td>ekko</td><td>WAERS</td><td>W</td></tr>"
    (row,) = _fields(two)
    assert (row["table"], row["name"], row["label"], "currency" in row["taxonomy_fields"]) == (
        "EKKO",
        "WAERS",
        "W",
        True,
    )
    one = "<table><tr><th>Technical Name</th><th>Name</th></tr><tr><td>EKKO-WAERS</td><td>Currency</td></tr>"
    (row,) = _fields(one)
    assert (row["table"], row["name"], row["label"], "currency" in row["taxonomy_fields"]) == (
        "EKKO",
        "WAERS",
        "Currency",
        True,
    )


@pytest.mark.parametrize(
    "body",
    [
        "<table><tr><th>Field</th><th>Description</th></tr><tr><td>WAERS</td><td>No table is named</td></tr></table>",
        "<h2>Table of contents</h2><table><tr><th>Field</th><th>Use</th></tr><tr><td>WAERS</td><td>x</td></tr></table>",
        "<table><tr><th>Name</th><th>Description</th></tr><tr><td>Currency</td><td>Same label only</td></tr></table>",
        "<h2>Table EKPO</h2><dl><dt>WAERS</dt><dd>A table that has no such field</dd></dl>",
    ],
)
def test_what_is_not_certain_is_not_linked(body: str) -> None:
    assert [row["taxonomy_fields"] for row in _fields(f"<p>Text.</p>{body}")] in ([[]], [])


@pytest.mark.parametrize(
    "body",
    [
        "<table><tr><th>City</th><th>Country</th></tr><tr><td>Hamburg</td><td>DE</td></tr></table>",
        "<table><tr><th>Field</th><th>Description</th></tr><tr><td>See the note below</td><td>x</td></tr></table>",
        "<dl><dt>Incoterms</dt><dd>Terms of delivery</dd></dl>",
    ],
)
def test_tables_of_other_things_have_no_fields(body: str) -> None:
    assert _fields(f"<p>Text.</p>{body}") == []


def test_a_huge_page_is_many_texts_of_bounded_length() -> None:
    body = "<h1>All</h1>" + "".join(f"<p>{'word ' * 200}</p>" for _ in range(500))
    _, texts, _ = page_rows("p.html", "0" * 64, parse_html(page(body)), FieldLinks([], []))
    assert len(texts) > 20
    assert max(len(row["text"]) for row in texts) < 25_000
    assert sum(row["text"].count("word") for row in texts) == 100_000


def test_the_language_is_the_page_s_own_or_that_of_its_words() -> None:
    body = "<p>Bitte geben Sie das Datum der Bestellung und die Menge für die Lieferung ein.</p>"
    about, (text,), _ = page_rows("p", "0" * 64, parse_html(body.encode()), FieldLinks([], []))
    assert (about["language"], text["language"]) == ("de", "de")
    about, _, _ = page_rows("p", "0" * 64, parse_html(page(body, language="fr")), FieldLinks([], []))
    assert about["language"] == "fr"


def test_addresses_of_pages_are_fetched_like_metadata(context: StageContext, tmp_path: Path, site: Server) -> None:
    latin = page(PURCHASE_ORDER).replace(b"utf-8", b"x-user").replace(b"goods", b"G\xfcter")
    site.answers |= {
        "/robots.txt": says(200, b"User-agent: *\nDisallow: /private"),
        "/order": lambda at, count: (
            at.say(200, latin, ETag='"1"', Content_Type="text/html; charset=iso-8859-1") if count == 1 else at.say(304)
        ),
        "/busy": lambda at, count: at.say(503) if count == 1 else at.say(200, page(ENTITY)),
        "/private/x": says(200, page(ENTITY)),
        "/metadata": says(200, document("A")),
        "/login": says(200, b"<html><body><input type=password><p>Log on"),
    }
    pages = [site.url(path) for path in ("/order", "/busy", "/private/x", "/login", "/gone", "/metadata")]
    built = _build(context, tmp_path, urls=[site.url("/metadata")], pages=pages)
    assert {row["record"].rpartition("/")[2]: row["reason"] for row in _rows(built, "quarantine")} == {
        "x": "robots",
        "login": "login_page",
        "gone": "not_found",
        "metadata": "not_html",
    }
    assert {row["source"] for row in _rows(built, "help_pages")} == {site.url("/order"), site.url("/busy")}
    assert any("Güter" in row["text"] for row in _rows(built, "corpus"))
    again = _build(context, tmp_path, urls=[site.url("/metadata")], pages=pages)
    assert again.manifest.data_version == built.manifest.data_version
    assert '"1"' in site.conditions, "asked whether it has changed"
    offline = _build(
        context, tmp_path, urls=[site.url("/metadata")], pages=pages[:2], fetch=QUICK | {"is_offline": True}
    )
    assert {row["source"] for row in _rows(offline, "help_pages")} == {site.url("/order"), site.url("/busy")}


def test_pages_stand_without_services_and_nothing_readable_is_an_error(
    context: StageContext, tmp_path: Path, site: Server
) -> None:
    site.answers |= {"/order": says(200, page(PURCHASE_ORDER)), "/app": says(200, b"<html><body><script>x</script>")}
    built = _build(context, tmp_path, pages=[site.url("/order")])
    assert (built.manifest.metrics["services"], built.manifest.metrics["help_pages"]) == (0, 1)
    with pytest.raises(SourceError, match="none of 1 documents could be had: the page has no text"):
        _build(context, tmp_path, pages=[site.url("/app")])
