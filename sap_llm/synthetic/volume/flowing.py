"""Values, labels and sentences on a canvas: on one line where there is room, else in several.

Setting pieces of text in a column belongs here; what they are does not (`printing`), nor their order on the page
(`pages`). A piece whose values change is measured anew for each document, so no value can overrun its column.
"""

import re
from collections.abc import Sequence

from sap_llm.synthetic.volume.canvas import Canvas, Fitted, Ink, NoRoomError, wrapped
from sap_llm.synthetic.volume.look import Look
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.printing import Piece, Printer, Value

_SMALLER = (0.9, 0.8, 0.7)


def no_room(what: str, printer: Printer) -> NoRoomError:
    """The error of a value that does not fit."""
    return NoRoomError(f"{what} does not fit on the page", where=printer.look.style.seed, remedy="Set it smaller.")


def fitted(value: Value, ink: Ink) -> Fitted:
    """A value set on one line."""
    if len(value) == 1:  # nearly all are
        text, name, canonical = value[0]
        shaped = ink.shape(text)
        return shaped.advance * ink.scale, ((shaped, name, canonical),)
    last = len(value) - 1
    pieces = tuple(
        (ink.shape(text if index == last else text + " "), name, canonical)
        for index, (text, name, canonical) in enumerate(value)
    )
    return sum(shaped.advance for shaped, _, _ in pieces) * ink.scale, pieces


def width_of(value: Value, ink: Ink) -> float:
    """Width of a value on one line."""
    return fitted(value, ink)[0]


def put_fitted(canvas: Canvas, x: float, baseline: float, value: Fitted, ink: Ink) -> float:
    """Draw a fitted value from x on; returns where it ends."""
    for shaped, name, canonical in value[1]:
        start = canvas.count
        canvas.put(x, baseline, shaped, ink)
        if name and shaped.number:
            canvas.mentions += (start, canvas.count, name, canonical, -1, -1, -1)
        x += shaped.advance * ink.scale
    return x


def write_value(canvas: Canvas, x: float, baseline: float, value: Value, ink: Ink) -> float:
    """A value on one line from x on; returns where it ends."""
    return put_fitted(canvas, x, baseline, fitted(value, ink), ink)


def set_value(
    canvas: Canvas, x: float, y: float, width: float, value: Value, ink: Ink, look: Look, *, side: str = "left"
) -> float:  # fmt: skip
    """A value in a column: at its side if it fits on a line, else broken; returns the height."""
    line = fitted(value, ink)
    if line[0] <= width:
        height = CAP_HEIGHT * ink.size
        shift = 0.0 if side == "left" else (width - line[0]) * (1.0 if side == "right" else 0.5)
        put_fitted(canvas, x + shift, y + height, line, ink)
        return height
    return set_words(canvas, x, y, width, value, ink, look)


def set_words(
    canvas: Canvas, x: float, y: float, width: float, value: Sequence[Piece], ink: Ink, look: Look
) -> float:  # fmt: skip
    """Words of pieces in as many lines as they need; returns the height.

    A piece that begins with punctuation is glued to the one before. A word that is wider than the column makes all of
    them smaller.

    Raises:
        NoRoomError: A word would have to be too small to be read.
    """
    words, owners = _words(value)
    if not words:
        return 0.0
    advances = [ink.width(word) for word in words]
    widest = max(advances)
    if widest > width:
        return set_words(canvas, x, y, width, value, _smaller(look, ink, width / widest), look)
    starts = wrapped(advances, ink.width(" "), width)
    step = CAP_HEIGHT * ink.size + look.leading * ink.size
    baseline = y + CAP_HEIGHT * ink.size - step
    for first, stop in zip(starts, [*starts[1:], len(words)], strict=True):
        baseline += step
        at = canvas.count - first
        canvas.write(x, baseline, " ".join(words[first:stop]), ink)
        begin = first
        for position in range(first + 1, stop + 1):
            if position == stop or owners[position] != owners[begin]:
                _, name, canonical = value[owners[begin]]
                if name and begin == first > 0 and owners[begin] == owners[begin - 1]:  # goes on from the line above
                    canvas.go_on(at + position)
                elif name:
                    canvas.mentions += (at + begin, at + position, name, canonical, -1, -1, -1)
                begin = position
    return baseline - y


def _words(value: Sequence[Piece]) -> tuple[list[str], list[int]]:
    """Words of pieces, and which piece each is of."""
    words: list[str] = []
    owners: list[int] = []
    for index, (text, _, _) in enumerate(value):
        found = text.split()
        if words and _GLUED.match(text):
            words[-1] += found.pop(0)
        words += found
        owners += [index] * len(found)
    return words, owners


def _smaller(look: Look, ink: Ink, share: float) -> Ink:
    for step in _SMALLER:
        if step <= share:
            return look.ink(ink.size * step, is_bold=ink.face is look.bold.face, colour=ink.colour)
    raise NoRoomError("a word is wider than its column", where=look.style.seed, remedy="Set it smaller.")


_GLUED = re.compile(r"[.,;:!?)\]%]")


def sentence(printer: Printer, template: str) -> Value:
    """A sentence whose `{placeholders}` became values."""
    pieces: list[Piece] = []
    parts = printer.look.once(f"sentence/{template}", lambda: template.replace("}", "{").split("{"))
    for index, part in enumerate(parts):
        if index % 2:
            pieces += printer.placeholder(part)
        elif part.strip():
            pieces.append((part if part[0] != " " else part[1:], "", ""))
    return tuple(pieces)
