"""What an instructed model reaches on documents of the split validation.

Belongs here: loss on answers, F1 with and without similar cases by vendor, and how many answers are of their schema
with and without being held to it. Comparing values is `sap_llm.evaluation`; frozen tests are `model_evaluation`'s.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sap_llm.evaluation.classes import score_classes
from sap_llm.evaluation.fields import FieldScores, Score, score_fields
from sap_llm.evaluation.line_items import score_line_items
from sap_llm.modeling import packed_attention
from sap_llm.modeling.generative.answers import to_prediction
from sap_llm.modeling.generative.fast_decoding import FastOptions
from sap_llm.modeling.generative.few_shot import CaseBook, case_of
from sap_llm.modeling.generative.instructions import EXTRACT, Instruction
from sap_llm.modeling.generative.predictor import GenerativePredictor, Request, load_generative
from sap_llm.modeling.generative.prompts import Case
from sap_llm.training.conversations import Conversations
from sap_llm.training.instructed import MODEL_FOLDER, InstructionValidation
from sap_llm.training.packing import IGNORED
from sap_llm.training.report import Reporter, write_json

FEW_SHOT = "few_shot.json"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # rows of predictions need a time; these are compared and thrown away
_EXTRACT = Instruction(kind="extract", text=EXTRACT)


@dataclass(frozen=True)
class _Documents:
    """Documents to be read, with truths and vendors."""

    ids: list[str]
    truths: list[Mapping[str, Any]]
    vendors: Mapping[str, str]
    fields: tuple[str, ...]


def measure_instructed(
    folder: Path,
    conversations: Callable[[str], Conversations],
    config: InstructionValidation,
    *,
    device: str,
    dtype: str,
    journal: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """Metrics of the model in `folder/model`; writes `few_shot.json` beside it.

    Args:
        folder: Of the result.
        conversations: Opens the pairs of a split.
        config: How much is measured.
        device: Of the model.
        dtype: Of the model's weights, by torch's name.
        journal: File of answers; a killed run goes on there.
        reporter: Told what is being done, and that this rank is alive.
    """
    validation = conversations("validation")
    predictor = load_generative(
        folder / MODEL_FOLDER,
        device=device,
        dtype=dtype,
        most_tokens=config.answer_tokens,
        batch=config.batch,
        journal=journal,
        beat=reporter.beat,
        fast=FastOptions() if config.is_fast else None,
    )
    metrics: dict[str, Any] = {}
    if not len(validation):
        reporter.say("no pair of the split validation: nothing is measured")
        return metrics
    reporter.say(f"reading {min(len(validation), config.compliance_pairs)} instructions with and without a schema")
    metrics |= _compliance(predictor, validation, config)
    reporter.say("reading documents with and without similar cases")
    metrics |= _few_shot(predictor, validation, conversations("train"), config, folder / FEW_SHOT)
    metrics |= {
        "validation_loss": validation_loss(predictor.model, validation, most=config.loss_pairs, beat=reporter.beat)
    }
    return {name: round(value, 5) if isinstance(value, float) else value for name, value in metrics.items()}


def validation_loss(model: Any, pairs: Conversations, *, most: int, beat: Callable[[], None]) -> float:
    """Mean cross entropy of the answers' tokens over the first `most` pairs, one pair at a time.

    The model reads packed pairs from then on.
    """
    model.set_attn_implementation({"text_config": packed_attention.register()})
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for place in range(min(len(pairs), most)):
            beat()
            encoded = pairs.encode([place])
            labels = encoded.labels(model.device)
            logits = model(**encoded.inputs(model.device), use_cache=False).logits[0].float()
            total += float(cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
            tokens += encoded.pack.targets
    return total / max(1, tokens)


def _compliance(predictor: GenerativePredictor, pairs: Conversations, config: InstructionValidation) -> dict[str, Any]:
    """Shares of answers that are of their schema."""
    requests = [pairs.request(row) for row in pairs.rows[: config.compliance_pairs]]
    shares: dict[str, Any] = {}
    for name, is_constrained in (("schema_compliance", True), ("schema_compliance_unconstrained", False)):
        answers = predictor.answers(requests, is_constrained=is_constrained)
        shares[name] = sum(answer.is_compliant for answer in answers) / max(1, len(answers))
        if is_constrained:
            shares["answers_cut"] = sum(answer.was_cut for answer in answers) / max(1, len(answers))
    return shares


def _few_shot(
    predictor: GenerativePredictor,
    validation: Conversations,
    train: Conversations,
    config: InstructionValidation,
    file: Path,
) -> dict[str, Any]:
    """F1 without cases, and with them."""
    documents = _documents(validation, config.documents)
    requests = [_request(validation, document_id) for document_id in documents.ids]
    plain = _read(predictor, requests, documents)
    classes = score_classes(documents.truths, plain)
    scores = score_fields(documents.truths, plain, fields=documents.fields)
    metrics = {
        "validation_documents": len(documents.ids),
        "validation_f1": scores.f1,
        "validation_class_accuracy": classes.accuracy,
        "validation_line_item_f1": score_line_items(documents.truths, plain).f1,
    }
    if not config.cases:
        return metrics
    book = _case_book(predictor, train, config.case_documents)
    vectors = [predictor.embed([request])[0] for request in requests]
    shown = [book.nearest(vector, count=config.cases) for vector in vectors]
    helped = _read(predictor, _with_cases(requests, shown), documents)
    with_cases = score_fields(documents.truths, helped, fields=documents.fields)
    write_json(file, _by_vendor(scores, with_cases, documents.vendors))
    return metrics | {"validation_f1_few_shot": with_cases.f1}


def _documents(pairs: Conversations, most: int) -> _Documents:
    about = {row["document_id"]: row for row in pairs.table("documents").to_pylist()}
    truths = {row["document_id"]: row for row in pairs.table("annotations").to_pylist()}
    ids = sorted({row["document_id"] for row in pairs.rows} & truths.keys())[:most]
    named = {entry["field"] for document_id in ids for entry in truths[document_id]["fields"]}
    wanted = pairs.settings.fields or tuple(sorted(named))
    return _Documents(
        ids=ids,
        truths=[truths[document_id] for document_id in ids],
        vendors={document_id: about[document_id].get("vendor") or "unknown" for document_id in ids},
        fields=wanted,
    )


def _request(pairs: Conversations, document_id: str) -> Request:
    pages, pictures = pairs.pages.of(document_id)
    return Request(pages=pages, pictures=pictures, instruction=_EXTRACT)


def _with_cases(requests: Sequence[Request], cases: Sequence[Sequence[Case]]) -> list[Request]:
    return [
        Request(pages=request.pages, pictures=request.pictures, instruction=request.instruction, cases=shown)
        for request, shown in zip(requests, cases, strict=True)
    ]


def _read(predictor: GenerativePredictor, requests: Sequence[Request], documents: _Documents) -> list[dict[str, Any]]:
    """Rows of `tables.ANNOTATIONS`."""
    return [
        to_prediction(answer, request.pages, request.frames).to_row(
            document_id=document_id, annotator="model", created_at=_EPOCH
        )
        for document_id, request, answer in zip(documents.ids, requests, predictor.answers(requests), strict=True)
    ]


def _case_book(predictor: GenerativePredictor, train: Conversations, most: int) -> CaseBook:
    """Cases of documents that training asked to extract, one each."""
    rows = list({row["document_id"]: row for row in train.rows if row["kind"] == "extract"}.values())[:most]
    requests = [_request(train, row["document_id"]) for row in rows]
    cases = [case_of(request.pages, row["answer"]) for request, row in zip(requests, rows, strict=True)]
    vectors = [predictor.embed([request]) for request in requests]
    return CaseBook(cases, np.concatenate(vectors) if vectors else np.zeros((0, 1), dtype=np.float32))


def _by_vendor(plain: FieldScores, helped: FieldScores, vendors: Mapping[str, str]) -> list[dict[str, Any]]:
    """F1 of every vendor without and with cases, and of all together."""
    sums: dict[str, dict[str, Score]] = {}
    for name, scores in (("f1", plain), ("f1_few_shot", helped)):
        by_vendor: dict[str, Score] = defaultdict(Score)
        for document_id, score in scores.by_document.items():
            by_vendor[vendors[document_id]] += score
        sums[name] = {"all": scores.overall, **dict(sorted(by_vendor.items()))}
    vendors_seen = list(dict.fromkeys([*sums["f1"], *sums["f1_few_shot"]]))
    return [
        {
            "vendor": vendor,
            "values": sums["f1"].get(vendor, Score()).support,
            **{name: round(part.get(vendor, Score()).f1, 4) for name, part in sums.items()},
        }
        for vendor in vendors_seen
    ]
