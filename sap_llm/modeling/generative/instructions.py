"""Instructions and the right answers to them: what a document with a truth can be asked.

Belongs here: wordings, questions and drawing among them by a seed. What the truth says is `facts`; how many
instructions a corpus gets, and where they are stored, is `sap_llm.training.instructions`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from sap_llm.modeling.generative.answer_schema import Kind, Schema, answer_schema
from sap_llm.modeling.generative.facts import Facts
from sap_llm.modeling.generative.frame import Frame
from sap_llm.schema.taxonomy import load_taxonomy

EXTRACT = "Extract all fields from this document."
"""The instruction that a predictor gives; the others are wordings for training."""

_WORDINGS: dict[Kind, tuple[str, ...]] = {
    "classify": (
        "Classify this document.",
        "What kind of document is this?",
        "Name the document's class and subtype.",
    ),
    "extract": (
        EXTRACT,
        "Read this document and return every field and line item.",
        "Return all header fields and line items as JSON.",
    ),
    "extract_field": (
        "Extract the field {field} ({description}).",
        "What is {field} of this document ({description})?",
        "Find {field}: {description}.",
    ),
    "table": (
        "Return the table of line items.",
        "Read the line items, one object a row.",
        "Turn the items' table into JSON.",
    ),
}
_QUESTIONS: dict[str, str] = {
    "document_number": "What is the number of this document?",
    "document_date": "When was this document issued?",
    "due_date": "By when is it to be paid?",
    "seller_name": "Who is the seller?",
    "buyer_name": "Who is the buyer?",
    "total_amount": "What is the total amount?",
    "tax_amount": "How much tax is charged?",
    "net_amount": "What is the amount before tax?",
    "currency": "Which currency are the amounts in?",
    "order_reference": "Which order does it refer to?",
    "delivery_date": "When is or was it delivered?",
    "iban": "To which bank account is it to be paid?",
    "payment_terms": "What are the terms of payment?",
}
_CENT = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """Something to ask about one document.

    Attributes:
        kind: What is asked for.
        text: The instruction as the model reads it.
        field: The field that is asked for, of kind `extract_field`.
    """

    kind: Kind
    text: str
    field: str | None = None

    def schema(self, frames: Sequence[Frame], *, fields: Sequence[str] = ()) -> Schema:
        """Schema of its answer on pages of these frames; `extract` may name `fields`, all by default."""
        longest = max(max(frame.width, frame.height) for frame in frames)
        return answer_schema(self.kind, pages=len(frames), longest_side=longest, fields=fields, field=self.field)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An instruction and the right answer to it."""

    instruction: Instruction
    answer: Mapping[str, Any]

    @property
    def is_unanswerable(self) -> bool:
        """The right answer is that the document does not say."""
        return self.answer in ({"answer": None}, {self.instruction.field: None})


def draw_pairs(
    facts: Facts,
    frames: Sequence[Frame],
    *,
    count: int,
    shares: Mapping[Kind, float],
    absent_share: float,
    fields: Collection[str],
    generator: np.random.Generator,
) -> list[Pair]:
    """Different pairs about one document, fewer where it gives no more.

    Args:
        facts: Of the document.
        frames: Of its pages.
        count: Pairs wanted.
        shares: Weight of each kind; what a document cannot give goes to the other kinds.
        absent_share: Share of fields and questions asked that the document does not have.
        fields: Header fields that may be asked for; all by default.
        generator: Decides.
    """
    drawn: dict[str, Pair] = {}
    pools = {kind: _pool(kind, facts, frames, fields, absent_share, generator) for kind in shares if shares[kind] > 0}
    while len(drawn) < count and pools:
        kinds = sorted(pools)
        weights = np.array([shares[kind] for kind in kinds])
        kind = kinds[int(generator.choice(len(kinds), p=weights / weights.sum()))]
        pair = next(pools[kind], None)
        if pair is None:
            del pools[kind]
        else:
            drawn.setdefault(pair.instruction.text, pair)
    return list(drawn.values())


def _pool(
    kind: Kind,
    facts: Facts,
    frames: Sequence[Frame],
    fields: Collection[str],
    absent_share: float,
    generator: np.random.Generator,
) -> Iterator[Pair]:
    """All pairs of a kind in an order drawn at random."""
    if kind == "question":
        yield from _questions(facts, fields, absent_share, generator)
    elif kind == "extract_field":
        for name in _mixed(
            [name for name in facts.header if not fields or name in fields],
            [name for name in sorted(facts.absent) if not fields or name in fields],
            absent_share,
            generator,
        ):
            spec = load_taxonomy().field(name)
            wording = _WORDINGS[kind][int(generator.integers(len(_WORDINGS[kind])))]
            text = wording.format(field=name, description=spec.description)
            yield _pair(Instruction(kind=kind, text=text, field=name), facts, frames, fields)
    elif kind != "table" or facts.line_items:
        for place in generator.permutation(len(_WORDINGS[kind])):
            yield _pair(Instruction(kind=kind, text=_WORDINGS[kind][int(place)]), facts, frames, fields)


def _pair(instruction: Instruction, facts: Facts, frames: Sequence[Frame], fields: Collection[str]) -> Pair:
    answer = facts.answer(instruction.kind, frames, fields=fields, field=instruction.field)
    return Pair(instruction=instruction, answer=answer)


def _questions(
    facts: Facts, fields: Collection[str], absent_share: float, generator: np.random.Generator
) -> Iterator[Pair]:
    known = {name: text for name, text in _QUESTIONS.items() if not fields or name in fields}
    answers: dict[str, str | None] = {
        text: facts.header[name]["value"] for name, text in known.items() if name in facts.header
    }
    answers |= {text: answer for text, make in _COMPUTED.items() if (answer := make(facts)) is not None}
    absent: dict[str, str | None] = {text: None for name, text in known.items() if name in facts.absent}
    for text in _mixed(list(answers), sorted(absent), absent_share, generator):
        answer = (answers | absent)[text]
        yield Pair(instruction=Instruction(kind="question", text=text), answer={"answer": answer})


def _mixed(
    present: Sequence[str], absent: Sequence[str], absent_share: float, generator: np.random.Generator
) -> Iterator[str]:
    """Both lists shuffled into one, the absent ones at their share as long as there are both."""
    rest = {
        True: [absent[place] for place in generator.permutation(len(absent))] if absent_share > 0 else [],
        False: [present[place] for place in generator.permutation(len(present))],
    }
    while rest[False]:  # a document of which nothing is known is asked nothing
        is_absent = bool(generator.random() < absent_share) and bool(rest[True])
        yield rest[is_absent].pop()


def _count_of_items(facts: Facts) -> str | None:
    return str(len(facts.line_items)) if facts.line_items else None


def _dearest_item(facts: Facts) -> str | None:
    """Description of the line item with the greatest amount, if that is one."""
    priced = [(_number(item.get("line_net_amount")), item) for item in facts.line_items]
    amounts = [amount for amount, _ in priced if amount is not None]
    if len(amounts) < max(2, len(priced)) or amounts.count(max(amounts)) > 1:
        return None
    best = next(item for amount, item in priced if amount == max(amounts))
    return best["line_description"]["value"] if "line_description" in best else None


def _adds_up(facts: Facts) -> str | None:
    net, tax, total = (_number(facts.header.get(name)) for name in ("net_amount", "tax_amount", "total_amount"))
    if net is None or tax is None or total is None:
        return None
    return "yes" if abs(net + tax - total) <= _CENT else "no"


def _number(row: Mapping[str, Any] | None) -> Decimal | None:
    try:
        return None if row is None else Decimal(row["value"])
    except InvalidOperation:
        return None


_COMPUTED: dict[str, Callable[[Facts], str | None]] = {
    "How many line items does it have?": _count_of_items,
    "Which line item has the greatest amount?": _dearest_item,
    "Do net amount and tax add up to the total, yes or no?": _adds_up,
}
