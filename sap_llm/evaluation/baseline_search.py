"""How the label baseline searches: values behind, under or without a label.

Belongs here: search over lines for any label and any form of value. Which labels and forms is `baseline` and
`baseline_parties`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache

from sap_llm.evaluation.baseline_lines import COLUMN, Lines, Span, below
from sap_llm.schema.values import canonical

BESIDE, UNDER, UNLABELLED = 0.9, 0.7, 0.5
"""Confidences by kind of rule."""

Candidate = tuple[Span, float]
"""A piece of the page and how far the rule that found it is trusted."""

FILLER = r"[\s:.#°º№\-–=]*"
"""What may stand between a label and its value."""


@cache
def compiled(text: str) -> re.Pattern[str]:
    """The expression, without regard to case; compiled once."""
    return re.compile(text, re.IGNORECASE)


def first(lines: Lines, patterns: Sequence[str], value: str) -> Candidate | None:
    """The first value behind or under the most trusted label that has one."""
    return next(labelled(lines, patterns, value), None)


def labelled(lines: Lines, patterns: Sequence[str], value: str) -> Iterator[Candidate]:
    """Values right behind a label, else under it; by trust in the label, then from top to bottom."""
    for pattern in occurring(patterns, lines):
        for line in lines:
            for match in compiled(pattern).finditer(line.text):
                behind = compiled(rf"{FILLER}(?P<value>{value})").match(line.text, match.end())
                if behind:
                    yield line.span(*behind.span("value")), BESIDE
                    continue
                rest = line.text[match.end() :].split(COLUMN)[0]
                if rest.strip(" :.#"):
                    continue
                for cell in below(lines, line.span(*match.span()), line.index, rows=2):
                    if compiled(rf"(?:{value})").match(cell.text):
                        yield inside(cell, value), UNDER
                        break


def occurring(patterns: Sequence[str], lines: Lines) -> Iterator[str]:
    """The labels that stand anywhere in the document; most do not, and need no look at each line."""
    return (pattern for pattern in patterns if compiled(pattern).search(lines.text))


def anywhere(lines: Lines, pattern: str, kind: str) -> Iterator[Candidate]:
    """Values of a taxonomy type wherever they stand, top to bottom."""
    for line in lines:
        for match in re.finditer(pattern, line.text):
            span = line.span(*match.span())
            if canonical(span.text, kind) is not None:
                yield span, UNLABELLED


def inside(cell: Span, value: str) -> Span:
    """The part of a cell that matches."""
    match = compiled(rf"(?:{value})").search(cell.text)
    return cell if match is None else part(cell, match.start(), match.end())


def part(cell: Span, start: int, end: int | None = None) -> Span:
    """The words of a cell between two offsets of its text."""
    stop = len(cell.text) if end is None else end
    chosen, offset = [], 0
    for word in cell.word_ids:
        length = len(cell.page.words[word])
        if offset < stop and offset + length > start:
            chosen.append(word)
        offset += length + 1
    return Span(cell.text[start:stop], cell.page, chosen or cell.word_ids)
