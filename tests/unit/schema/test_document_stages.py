"""The document stages and the routes as data: complete, in order, and true to what SAP publishes."""

import re
from pathlib import Path

import pytest

from sap_llm.schema.document_stages import document_stage, document_stage_names, load_document_stages
from sap_llm.schema.routes import load_routes, priority_of, route_of
from sap_llm.schema.taxonomy import load_taxonomy

SENT = {"sender", "file"}


def test_there_are_eight_stages_in_the_roadmaps_order() -> None:
    assert document_stage_names() == (
        "inbox",
        "preprocessing",
        "classification",
        "type_identification",
        "extraction",
        "quality_check",
        "validation",
        "routing",
    )


def test_a_stage_takes_only_what_an_earlier_one_gave() -> None:
    given = set(SENT)
    for stage in load_document_stages():
        assert set(stage.takes) <= given, stage.name
        given |= set(stage.gives)


def test_every_path_classifies_extracts_validates_and_routes() -> None:
    for path in ("fast", "standard", "full"):
        names = [stage.name for stage in load_document_stages() if path in stage.paths]
        assert {"classification", "extraction", "validation", "routing"} <= set(names)
    assert document_stage("quality_check").paths == ("standard", "full")


def test_event_types_are_those_of_the_roadmap() -> None:
    assert document_stage("classification").event_type == "com.sap_llm.classification.complete"


def test_every_class_has_a_route_to_a_known_queue_and_service() -> None:
    routes = load_routes()
    assert list(routes.classes) == [entry.name for entry in load_taxonomy().classes]
    assert {route.queue for route in routes.classes.values()} == set(routes.queues)
    assert {route.service for route in routes.classes.values()} - {None} == set(routes.services)


def test_what_makes_a_document_urgent_exists_in_the_taxonomy() -> None:
    urgent, taxonomy = load_routes().urgent, load_taxonomy()
    for name in (*urgent.due_fields, *load_routes().order_fields):
        assert taxonomy.field(name).level == "header"
    subtypes = {subtype.name for entry in taxonomy.classes for subtype in entry.subtypes}
    assert set(urgent.subtypes) <= subtypes
    assert set(urgent.classes) <= set(load_routes().classes)


def test_an_invoice_with_an_order_is_matched_and_one_without_is_posted_to_accounts() -> None:
    assert route_of("SUPPLIER_INVOICE", {"order_reference": "4500012345"}).items == "A_SuplrInvcItemPurOrdRef"
    assert route_of("SUPPLIER_INVOICE", {}).items == "A_SupplierInvoiceItemGLAcct"
    assert route_of("ORDER_RESPONSE", {}).operation == "update"
    assert route_of("BANK_STATEMENT", {}).service is None


@pytest.mark.parametrize(
    ("subtype", "header", "priority"),
    [
        (None, {"document_date": "2026-03-01", "due_date": "2026-03-31"}, "normal"),
        (None, {"document_date": "2026-03-01", "due_date": "2026-03-08"}, "high"),
        (None, {"document_date": "2026-03-01", "due_date": "2026-03-31", "discount_date": "2026-03-05"}, "high"),
        (None, {"document_date": "1 March", "due_date": "2026-03-05"}, "normal"),
        ("RUSH", {}, "high"),
    ],
)
def test_priority_follows_from_dates_and_subtype(subtype: str | None, header: dict[str, str], priority: str) -> None:
    assert priority_of("SUPPLIER_INVOICE", subtype, header) == priority


def test_services_have_the_entity_sets_that_their_metadata_declares(shared_data: Path) -> None:
    declared: dict[str, set[str]] = {}
    for path in shared_data.glob("sap-odata-metadata*/*.edmx"):
        sets = re.findall(r'<EntitySet Name="(\w+)"', path.read_text(encoding="utf-8"))
        declared.setdefault(path.name.split(".")[0], set()).update(sets)
    looked_at = [service for service in load_routes().services.values() if service.service in declared]
    assert len(looked_at) >= 6
    for service in looked_at:
        names = {service.entity_set, service.items, service.items_with_order} - {None}
        assert names <= declared[service.service], service.service
