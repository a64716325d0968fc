"""Mistakes that a person makes again and again: confused classes and fields, omissions, boxes too wide.

Belongs here: finding slips in single answers and telling habits from chance. How right a person is on the whole is
`quality`; writing it down is `annotator_report`.

A slip is a habit when it happened at least `LEAST` times and clearly more often than to the others who had the same
chance: the lower end of its 95 % interval lies above their share.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sap_llm.annotation.quality import Held, wilson
from sap_llm.evaluation.fields import STRICT_OVERLAP, overlap
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import equal

Array = npt.NDArray[Any]
Kind = Literal["class", "field", "value", "omitted", "added"]
LEAST = 3
_EXAMPLES = 3
_WIDE, _STEADY = 1.1, 0.75  # a box habit: a tenth off in the median, the same way in three of four boxes


@dataclass(frozen=True, kw_only=True)
class Slip:
    """One mistake, or one difference from another person where nobody knows who is right.

    Attributes:
        annotator: Who.
        kind: `class`, `field` (said one field, meant another), `value`, `omitted` or `added`.
        said: Class or field that was said; empty where it was omitted.
        meant: What it is held to be; empty where it was added.
        document_id: Where.
    """

    annotator: str
    kind: Kind
    said: str
    meant: str
    document_id: str


@dataclass(frozen=True, kw_only=True)
class Habit:
    """A slip that repeats.

    Attributes:
        annotator: Whose.
        kind: As in `Slip`.
        said: As in `Slip`.
        meant: As in `Slip`.
        count: How often.
        chances: How often it could have happened.
        others: Share of the others' chances at which it happened to them; 0 where there are no others.
        examples: A few documents.
    """

    annotator: str
    kind: Kind
    said: str
    meant: str
    count: int
    chances: int
    others: float
    examples: tuple[str, ...]

    def __str__(self) -> str:
        """What is done, in words."""
        return {
            "class": f"says {self.said} where it is {self.meant}",
            "field": f"labels {self.meant} as {self.said}",
            "value": f"gives {self.said} another value",
            "omitted": f"leaves {self.meant} out",
            "added": f"adds {self.said}",
        }[self.kind]


@dataclass(frozen=True, kw_only=True)
class BoxHabit:
    """Boxes that are off in one direction.

    Attributes:
        annotator: Whose.
        side: `wide`, `narrow`, `tall` or `flat`.
        ratio: Median of own by the other's width or height.
        share: Of the boxes that are off that way at all.
        boxes: How many were compared.
    """

    annotator: str
    side: str
    ratio: float
    share: float
    boxes: int

    def __str__(self) -> str:
        """What is done, in words."""
        return f"draws boxes too {self.side}"


def slips(held: Held) -> list[Slip]:
    """Every difference of an answer from what it is held against: classes, then header fields, by pair."""
    documents = held.documents()
    found: list[Slip] = []

    def note(pair: int, kind: Kind, said: str, meant: str) -> None:
        found.append(
            Slip(annotator=held.annotators[pair], kind=kind, said=said, meant=meant, document_id=documents[pair])
        )

    one, other = held.labels("document_type")
    for pair in np.flatnonzero(one != other).tolist():
        note(pair, "class", one[pair], other[pair])
    differing = _differing_fields(held)
    fields = _fields(held, list(differing))
    for pair, (own, others) in differing.items():
        for kind, said, meant in _told_apart(own, others, *fields[pair]):
            note(pair, kind, said, meant)
    return found


def habits(held: Held, found: list[Slip]) -> list[Habit]:
    """The slips that are habits, by person and then the most frequent first."""
    chances = _chances(held)
    counts = Counter((slip.annotator, slip.kind, slip.said, slip.meant) for slip in found)
    everyone = Counter((slip.kind, slip.said, slip.meant) for slip in found)
    examples: dict[tuple[str, Kind, str, str], list[str]] = defaultdict(list)
    for slip in found:
        shown = examples[slip.annotator, slip.kind, slip.said, slip.meant]
        if len(shown) < _EXAMPLES and slip.document_id not in shown:
            shown.append(slip.document_id)
    result = []
    for (annotator, kind, said, meant), count in counts.items():
        own, total = chances.of(annotator, kind, said, meant)
        others = (everyone[kind, said, meant] - count) / (total - own) if total > own else 0.0
        if count >= LEAST and wilson(min(1.0, count / own), own)[0] > others:
            result.append(
                Habit(
                    annotator=annotator,
                    kind=kind,
                    said=said,
                    meant=meant,
                    count=count,
                    chances=own,
                    others=others,
                    examples=tuple(examples[annotator, kind, said, meant]),
                )
            )
    return sorted(result, key=lambda habit: (habit.annotator, -habit.count, habit.kind, habit.said, habit.meant))


def box_habits(held: Held) -> list[BoxHabit]:
    """Boxes of fields that both sides mark on overlapping places, compared in width and height."""
    boxes = held.compared.boxes
    near = boxes.overlap > 0
    who = held.annotators[boxes.pair[near]]
    sizes = [(side[near][:, 2:] - side[near][:, :2]).astype(np.float64) for side in (boxes.left, boxes.right)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(sizes[1] > 0, sizes[0] / sizes[1], 1.0)
    result = []
    for annotator in sorted(set(who.tolist())):
        own = ratios[who == annotator]
        for axis, (large, small) in enumerate((("wide", "narrow"), ("tall", "flat"))):
            ratio = float(np.median(own[:, axis]))
            is_large = ratio >= 1
            share = float(((own[:, axis] > 1) if is_large else (own[:, axis] < 1)).mean())
            if len(own) >= LEAST and max(ratio, 1 / ratio) >= _WIDE and share >= _STEADY:
                side = large if is_large else small
                result.append(BoxHabit(annotator=annotator, side=side, ratio=ratio, share=share, boxes=len(own)))
    return result


def _differing_fields(held: Held) -> dict[int, tuple[list[str], list[str]]]:
    """By pair, header fields whose values differ or that one side lacks: names on the left, names on the right."""
    compared = held.compared
    found: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for row in np.flatnonzero((compared.line == 0) & ~compared.is_same_value).tolist():
        name = compared.names[compared.field[row]]
        for side, has_it in enumerate((compared.has_left[row], compared.has_right[row])):
            if has_it:
                found[int(compared.pair[row])][side].append(name)
    return dict(found)


def _told_apart(
    own: list[str], other: list[str], mine: Mapping[str, list[Any]], theirs: Mapping[str, list[Any]]
) -> Iterator[tuple[Kind, str, str]]:
    """Kind, said and meant of the fields that differ; a field whose content stands under another name is one slip."""
    left, right = list(own), list(other)
    for said in own:
        meant = next((name for name in right if name != said and _is_content(mine[said], theirs[name], name)), None)
        if meant is not None:
            left.remove(said)
            right.remove(meant)
            yield "field", said, meant
    for name in left:
        yield ("value", name, name) if name in right else ("added", name, "")
    for name in right:
        if name not in left:
            yield "omitted", "", name


def _is_content(mine: list[Any], theirs: list[Any], name: str) -> bool:
    """Whether one mention of the others' field has the value or the place of one of mine."""
    kind = load_taxonomy().field(name).type
    return any(
        equal(one["value"], two["value"], kind)
        or (one["page"] == two["page"] and overlap(one["box"], two["box"]) >= STRICT_OVERLAP)
        for one in mine
        for two in theirs
    )


def _fields(held: Held, pairs: list[int]) -> dict[int, tuple[dict[str, list[Any]], dict[str, list[Any]]]]:
    """Fields by name of both sides of some pairs."""
    compared = held.compared
    rows = sorted({int(side[pair]) for pair in pairs for side in (compared.left, compared.right)})
    column = held.annotations.column("fields").take(pa.array(rows, pa.int64())).to_pylist()
    named: dict[int, dict[str, list[Any]]] = {}
    for row, entries in zip(rows, column, strict=True):
        named[row] = defaultdict(list)
        for entry in entries:
            if entry["value"] is not None:
                named[row][entry["field"]].append(entry)
    return {pair: (named[int(compared.left[pair])], named[int(compared.right[pair])]) for pair in pairs}


class _Chances:
    """How often each slip could have happened to each person, and to all together."""

    def __init__(self) -> None:
        self.pairs: Counter[str] = Counter()
        self.classes: Counter[tuple[str, str]] = Counter()
        self.fields: Counter[tuple[str, str]] = Counter()

    def of(self, annotator: str, kind: Kind, said: str, meant: str) -> tuple[int, int]:
        """Own chances and those of everybody."""
        if kind == "added":
            own = self.pairs[annotator] - self.fields[annotator, said]
            return own, self.pairs.total() - self._all(self.fields, said)
        counts = self.classes if kind == "class" else self.fields
        return counts[annotator, meant], self._all(counts, meant)

    @staticmethod
    def _all(counts: Counter[tuple[str, str]], name: str) -> int:
        return sum(count for (_, own), count in counts.items() if own == name)


def _chances(held: Held) -> _Chances:
    chances = _Chances()
    chances.pairs.update(held.annotators.tolist())
    chances.classes.update(zip(held.annotators.tolist(), held.labels("document_type")[1].tolist(), strict=True))
    compared = held.compared
    named = (compared.line == 0) & compared.has_right
    names = [compared.names[code] for code in compared.field[named].tolist()]
    chances.fields.update(zip(held.annotators[compared.pair[named]].tolist(), names, strict=True))
    return chances
