"""Where documents go: the queue of each class, the SAP service that takes it, and what makes it urgent.

The one reader of `routes.yaml`: facts of a document in, a route out, the same for targets of training and for agents.
The business rules whose failures keep a document from being posted are `pmg.validation`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

Priority = Literal["high", "normal"]
Decision = Literal["post", "review"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Service(_Part):
    """A released OData service and its entity sets."""

    service: str
    entity_set: str
    items: str
    items_with_order: str | None = None  # where the document names an order


class ClassRoute(_Part):
    """What is known by the class alone."""

    queue: str
    service: str | None = None  # key of `Routes.services`; None: people enter it
    operation: Literal["create", "update"] = "create"
    is_business: bool = True


class Urgency(_Part):
    """What makes a document urgent; one reason is enough."""

    days: int
    classes: tuple[str, ...]
    subtypes: tuple[str, ...]
    due_fields: tuple[str, ...]


class Routes(_Part):
    """All of `routes.yaml`."""

    urgent: Urgency
    order_fields: tuple[str, ...]
    queues: tuple[str, ...]
    services: dict[str, Service]
    classes: dict[str, ClassRoute]


class Route(_Part):
    """Where one document goes; the three names of SAP are None where people enter it."""

    queue: str
    service: str | None = None
    entity_set: str | None = None
    items: str | None = None
    operation: str | None = None


@cache
def load_routes() -> Routes:
    """Read the routes that ship with this package."""
    text = files("sap_llm.schema").joinpath("routes.yaml").read_text(encoding="utf-8")
    return Routes.model_validate(yaml.safe_load(text))


def route_of(document_type: str, header: Mapping[str, str]) -> Route:
    """The route of a document.

    Args:
        document_type: Taxonomy class; KeyError if there is none of that name.
        header: Canonical values of its header fields.
    """
    routes = load_routes()
    known = routes.classes[document_type]
    if known.service is None:
        return Route(queue=known.queue)
    service = routes.services[known.service]
    names_order = any(header.get(name) for name in routes.order_fields)
    return Route(
        queue=known.queue,
        service=service.service,
        entity_set=service.entity_set,
        items=(service.items_with_order if names_order else None) or service.items,
        operation=known.operation,
    )


def priority_of(document_type: str, document_subtype: str | None, header: Mapping[str, str]) -> Priority:
    """High for urgent classes and subtypes, and where a due date is close behind the document's own date."""
    urgent = load_routes().urgent
    if document_type in urgent.classes or document_subtype in urgent.subtypes:
        return "high"
    issued = _date(header.get("document_date"))
    due = [found for name in urgent.due_fields if (found := _date(header.get(name))) is not None]
    if issued is None or not due:
        return "normal"
    return "high" if min(due) - issued <= timedelta(days=urgent.days) else "normal"


def decision_of(route: Route, violations: Sequence[str]) -> Decision:
    """Post what a service takes and no business rule forbids; people look at the rest."""
    return "post" if route.service is not None and not violations else "review"


def _date(value: str | None) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        return None
