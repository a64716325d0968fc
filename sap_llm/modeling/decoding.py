"""From word probabilities to the header fields of a document.

Belongs here: choosing among candidates, the arithmetic of net, tax and total, and rules that fill only what the model
left empty. Candidates themselves are `candidates`, line items are `line_items`.

Repeated mentions of a value count with the greatest of their scores, not the sum: adding up favours what is printed
often over what stands beside its label.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.candidates import Candidate, Scroll, amount_places, candidates, is_iban
from sap_llm.modeling.labels import LabelSet
from sap_llm.modeling.normalise import Manner, currency_in, field_type, manner_of
from sap_llm.modeling.protocol import PredictedField
from sap_llm.schema.page import Page
from sap_llm.schema.values import format_decimal

Array = npt.NDArray[Any]
ACCEPTED = 0.35
"""A value whose best mention scores less is not reported."""

_LEAST = 0.05  # of a word to be considered at all
_LEAST_AMOUNT = 0.01  # arithmetic can rescue an unlikely amount
_AMOUNTS = ("net_amount", "tax_amount", "total_amount")
_RIVALS = 5  # candidates of each amount that are tried together
_ABSENT = 0.03  # probability floor of "not printed"
_SUM_BONUS = 3.0  # in log probability, for net + tax = total
_RATE_BONUS = 1.0  # for tax = net x rate
_FILLED_CONFIDENCE = 0.5
_SURE = 0.5  # of net and total, before the tax follows from them
_COMPLETED = 0.9  # of the lower confidence of both
_RIVAL_FIELDS = (
    ("seller_name", "buyer_name"),
    ("seller_vat_id", "buyer_vat_id"),
    ("document_number", "order_reference"),
)
"""Fields whose values differ on every document."""
_CENT = Decimal("0.01")


def decode_header(
    pages: Sequence[Page],
    probabilities: Array,
    labels: LabelSet,
    *,
    scroll: Scroll | None = None,
    manner: Manner | None = None,
) -> tuple[PredictedField, ...]:
    """Choose the value of every header field.

    Args:
        pages: The document's pages in order.
        probabilities: float [n, 1 + header fields] over the words of all pages.
        labels: The model's label lists.
        scroll: The pages' words concatenated, when already made.
        manner: How the document writes, when already known.
    """
    words = scroll or Scroll.of(pages)
    manner = manner or manner_of(words.words)
    found: dict[str, list[Candidate]] = {}
    for index, name in enumerate(labels.header_fields):
        found[name] = candidates(
            words,
            probabilities[:, index + 1],
            field=name,
            kind=field_type(name),
            manner=manner,
            least=_LEAST_AMOUNT if name in _AMOUNTS else _LEAST,
        )
    chosen = {name: options[0] for name, options in found.items() if options and options[0].score >= ACCEPTED}
    chosen |= choose_amounts(found)
    _complete_tax(chosen, words, manner)
    _tell_apart(chosen, found)
    _drop_early_due_date(chosen)
    _fill_iban(chosen, words, probabilities[:, labels.header_fields.index("iban") + 1])
    _fill_currency(chosen, words)
    return tuple(to_field(name, chosen[name], pages, words) for name in labels.header_fields if name in chosen)


def choose_amounts(found: Mapping[str, Sequence[Candidate]]) -> dict[str, Candidate]:
    """Choose net, tax and total together: likely ones that add up win over likelier ones that do not."""
    options: list[list[Candidate | None]] = [[None, *found.get(name, ())[:_RIVALS]] for name in _AMOUNTS]
    rates = [rate for rate in (_decimal(option) for option in found.get("tax_rate", ())[:3]) if rate is not None]
    best: tuple[Candidate | None, ...] = (None, None, None)
    best_score = -math.inf
    for combination in itertools.product(*options):
        score = sum(_log_score(choice, rivals) for choice, rivals in zip(combination, options, strict=True))
        score += _arithmetic(combination, rates)
        if score > best_score:
            best, best_score = combination, score
    is_sum = _adds_up(best)
    return {
        name: choice
        for name, choice in zip(_AMOUNTS, best, strict=True)
        if choice is not None and (is_sum or choice.score >= ACCEPTED)
    }


def _complete_tax(chosen: dict[str, Candidate], scroll: Scroll, manner: Manner) -> None:
    """Without a tax from the model, take the amount on the page that is the total less the net, where both are sure.

    The other two are not completed: what a misread tax adds up to is printed too often.
    """
    net, total = chosen.get("net_amount"), chosen.get("total_amount")
    if "tax_amount" in chosen or net is None or total is None or min(net.score, total.score) < _SURE:
        return
    tax = Decimal(total.value) - Decimal(net.value)
    if tax and (places := amount_places(scroll, tax, manner)):
        value = format_decimal(tax, places=2)
        chosen["tax_amount"] = Candidate(value, places[-1], _COMPLETED * min(net.score, total.score))


def _tell_apart(chosen: dict[str, Candidate], found: Mapping[str, Sequence[Candidate]]) -> None:
    """Where two fields chose one value, the likelier keeps it and the other takes its next, if that is likely."""
    for pair in _RIVAL_FIELDS:
        choices = [chosen.get(name) for name in pair]
        if choices[0] is None or choices[1] is None or choices[0].value.casefold() != choices[1].value.casefold():
            continue
        taken = choices[0].value.casefold()
        loser = pair[int(choices[0].score >= choices[1].score)]
        del chosen[loser]
        rest = [option for option in found[loser] if option.value.casefold() != taken and option.score >= ACCEPTED]
        if rest:
            chosen[loser] = rest[0]


def _drop_early_due_date(chosen: dict[str, Candidate]) -> None:
    """Nothing is due before it is billed."""
    due, issued = chosen.get("due_date"), chosen.get("document_date")
    if due is not None and issued is not None and due.value < issued.value:
        del chosen["due_date" if due.score <= issued.score else "document_date"]


def to_field(name: str, choice: Candidate, pages: Sequence[Page], scroll: Scroll) -> PredictedField:
    """The chosen candidate in terms of its page."""
    page_index = int(scroll.pages[choice.words[0]])
    page = pages[page_index]
    own = [word - scroll.starts[page_index] for word in choice.words if scroll.pages[word] == page_index]
    return PredictedField(
        field=name,
        value=choice.value,
        printed=" ".join(page.words[word] for word in own),
        page=page.page_number,
        box=page.box_of(own),
        word_ids=tuple(own),
        confidence=min(1.0, choice.score),
    )


def _log_score(choice: Candidate | None, rivals: Sequence[Candidate | None]) -> float:
    if choice is not None:
        return math.log(max(choice.score, 1e-6))
    likeliest = max((rival.score for rival in rivals if rival is not None), default=0.0)
    return math.log(max(_ABSENT, 1.0 - likeliest))


def _arithmetic(combination: Sequence[Candidate | None], rates: Sequence[Decimal]) -> float:
    bonus = _SUM_BONUS if _adds_up(combination) else 0.0
    net, tax = _decimal(combination[0]), _decimal(combination[1])
    if net and tax and any(abs(net * rate / 100 - tax) <= _CENT for rate in rates):
        bonus += _RATE_BONUS
    return bonus


def _adds_up(combination: Sequence[Candidate | None]) -> bool:
    net, tax, total = (_decimal(choice) for choice in combination)
    if net is None or tax is None or total is None or not net:
        return False
    return abs(net + tax - total) <= _CENT


def _decimal(choice: Candidate | None) -> Decimal | None:
    try:
        return None if choice is None else Decimal(choice.value)
    except InvalidOperation:
        return None


def _fill_iban(chosen: dict[str, Candidate], scroll: Scroll, likely: Array) -> None:
    """Without an IBAN from the model, take the first words on one line whose check digits hold, unless it is sure."""
    if "iban" in chosen:
        return
    for start, word in enumerate(scroll.words):
        if len(word) < 4 or not (word[:2].isupper() and word[2:4].isdigit()):
            continue
        text = ""
        for stop in range(start, min(start + 9, len(scroll.words))):
            if scroll.lines[stop] != scroll.lines[start]:
                break
            text += scroll.words[stop].strip(".,;")
            if is_iban(text) and likely[start : stop + 1].max() >= _LEAST:
                chosen["iban"] = Candidate(text, tuple(range(start, stop + 1)), _FILLED_CONFIDENCE)
                return


def _fill_currency(chosen: dict[str, Candidate], scroll: Scroll) -> None:
    """Without a currency from the model, take the sign that stands at the total, or else most often."""
    if "currency" in chosen:
        return
    signs = {place: code for place, word in enumerate(scroll.words) if (code := currency_in(word))}
    if not signs:
        return
    total = chosen.get("total_amount")
    near = [place for place in signs if total and scroll.lines[place] == scroll.lines[total.words[-1]]]
    codes, counts = np.unique(list(signs.values()), return_counts=True)
    code = signs[near[0]] if near else str(codes[int(counts.argmax())])
    place = near[0] if near else next(place for place, sign in signs.items() if sign == code)
    chosen["currency"] = Candidate(code, (place,), _FILLED_CONFIDENCE)
