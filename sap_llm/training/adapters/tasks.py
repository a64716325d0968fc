"""One task for each document stage: what the model is shown, and the right answer.

Belongs here: deriving both from an annotated document. Every answer follows from its truth, from facts of its file, or
from a fault that was planted and is therefore known; a document that a stage has no answer for gives no example. The
words of the questions are `modeling.stage_prompts`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from sap_llm.augmentation.ocr_noise import misread
from sap_llm.modeling.stage_prompts import Message, ask, placed_reading, reading, written_answer
from sap_llm.pmg.validation import Extracted, validate
from sap_llm.reading.document import MIN_QUALITY
from sap_llm.reading.legibility import quality
from sap_llm.schema.document_stages import document_stage_names
from sap_llm.schema.page import Page
from sap_llm.schema.routes import decision_of, load_routes, priority_of, route_of
from sap_llm.training.adapters.config import TaskConfig
from sap_llm.training.adapters.documents import StageDocument
from sap_llm.training.adapters.faults import Generator, broken, shifted, spoiled, turned

Values = Mapping[str, Any]
Task = Callable[[StageDocument, TaskConfig, Generator], tuple[Values, Values] | None]

RULE_FIELDS = ("net_amount", "tax_amount", "total_amount", "tax_rate", "document_date", "due_date", "iban", "currency")
RULE_LINE_FIELDS = ("line_quantity", "line_unit_price", "line_net_amount")
"""What the rules of `pmg.validation` read; a rule on others needs them here (a test compares)."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One conversation with its right answer."""

    document_id: str
    document_stage: str
    messages: list[Message]
    answer: str


def examples(stage: str, documents: Iterable[StageDocument], config: TaskConfig, *, seed: int) -> Iterator[Example]:
    """The examples of a stage, one a document at most; each depends on its document and the seed alone."""
    task, place = TASKS[stage], document_stage_names().index(stage)
    for document in documents:
        digest = hashlib.sha256(document.document_id.encode()).digest()
        generator = np.random.default_rng([seed, place, int.from_bytes(digest[:8], "big")])
        made = task(document, config, generator)
        if made is not None:
            given, answer = made
            yield Example(
                document_id=document.document_id,
                document_stage=stage,
                messages=ask(stage, given),
                answer=written_answer(stage, answer),
            )


def _inbox(document: StageDocument, config: TaskConfig, _: Generator) -> tuple[Values, Values]:
    header, kind = document.extracted.header, document.document_type
    parties = {name: header[name] for name in ("seller_name", "buyer_name") if name in header}
    given = {**parties, "file": _file(document), "text": reading(document.page, words=config.page_words)}
    known = load_routes().classes[kind]
    priority = priority_of(kind, document.document_subtype, header)
    return given, {"is_business": known.is_business, "queue": known.queue, "priority": priority}


def _file(document: StageDocument) -> dict[str, Any]:
    return {name: document.facts.get(name) for name in ("media_type", "page_count")}


def _preprocessing(document: StageDocument, config: TaskConfig, generator: Generator) -> tuple[Values, Values] | None:
    page = _damaged(document.page, config, generator)
    if not page.words:
        return None
    quarters = int(generator.integers(1, 4)) if generator.random() < config.turned_share else 0
    page = turned(page, quarters)
    legible = quality(page.words)
    answer = {
        "turn": 90 * quarters,
        "language": document.facts.get("language"),
        "quality": round(legible, 1),
        "needs_ocr": legible < MIN_QUALITY,
    }
    return {"text": placed_reading(page, words=config.page_words)}, answer


def _damaged(page: Page, config: TaskConfig, generator: Generator) -> Page:
    chance = generator.random()
    if chance < config.shifted_share:
        return shifted(page)
    if chance < config.shifted_share + config.misread_share:
        return misread(page, config.misreading, generator)[0]
    return page


def _classification(document: StageDocument, config: TaskConfig, _: Generator) -> tuple[Values, Values]:
    return {"text": reading(document.page, words=config.page_words)}, {"document_type": document.document_type}


def _type_identification(document: StageDocument, config: TaskConfig, _: Generator) -> tuple[Values, Values] | None:
    if document.document_subtype is None:
        return None
    given = {"document_type": document.document_type, "text": reading(document.page, words=config.page_words)}
    return given, {"document_subtype": document.document_subtype}


def _extraction(document: StageDocument, config: TaskConfig, _: Generator) -> tuple[Values, Values] | None:
    header, lines = document.shown(config.page_words)
    if not header and not lines:
        return None
    given = {"document_type": document.document_type, "text": reading(document.page, words=config.page_words)}
    return given, {"fields": header, "line_items": lines}


def _quality_check(document: StageDocument, config: TaskConfig, generator: Generator) -> tuple[Values, Values] | None:
    header, _ = document.shown(config.page_words)
    if not header:
        return None
    wrong: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    if generator.random() < config.fault_share:
        fault = spoiled(header, generator, most=config.most_faults)
        header, wrong, missing = fault.values, fault.wrong, fault.missing
    given = {"extraction": header, "text": reading(document.page, words=config.page_words)}
    return given, {"wrong_fields": list(wrong), "missing_fields": list(missing)}


def _validation(document: StageDocument, config: TaskConfig, generator: Generator) -> tuple[Values, Values] | None:
    extracted = _for_rules(document, config, generator)
    validation = validate(extracted, required={})
    if not validation.rules:
        return None
    given = {"header": extracted.header, "lines": list(extracted.lines)}
    return given, {"violations": violated(validation.errors)}


def _routing(document: StageDocument, config: TaskConfig, generator: Generator) -> tuple[Values, Values]:
    kind, header = document.document_type, document.extracted.header
    violations = violated(validate(_for_rules(document, config, generator), required={}).errors)
    route = route_of(kind, header)
    orders = {name: header[name] for name in load_routes().order_fields if name in header}
    given = {
        "document_type": kind,
        "document_subtype": document.document_subtype,
        "header": orders,
        "violations": violations,
    }
    return given, {**route.model_dump(), "decision": decision_of(route, violations)}


def _for_rules(document: StageDocument, config: TaskConfig, generator: Generator) -> Extracted:
    """What the rules read of the truth, with a fault planted in a share of the documents."""
    whole = document.extracted
    header = {name: whole.header[name] for name in RULE_FIELDS if name in whole.header}
    lines = [{name: line[name] for name in RULE_LINE_FIELDS if name in line} for line in whole.lines]
    if header and generator.random() < config.fault_share:
        header = broken(header, generator)
    return Extracted(document_type=whole.document_type, header=header, lines=lines)


def violated(errors: Iterable[str]) -> list[str]:
    """Names of the rules that failed, each once, in order."""
    return list(dict.fromkeys(error.partition(":")[0] for error in errors))


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "inbox": _inbox,
        "preprocessing": _preprocessing,
        "classification": _classification,
        "type_identification": _type_identification,
        "extraction": _extraction,
        "quality_check": _quality_check,
        "validation": _validation,
        "routing": _routing,
    }
)
"""Document stage -> what is shown and the right answer, or None where the document has none."""
