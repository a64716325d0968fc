"""How numbers, dates, identifiers and currencies are printed.

Turning canonical values into printed text belongs here; choosing a format does not (`style`), nor reading text back
(`schema.values`).
"""

import datetime as dt
import random
from decimal import ROUND_HALF_UP, Decimal

_SPACED = ("\u00a0", ",")
NUMBER_SHAPES: dict[str, tuple[tuple[str, str], ...]] = {
    "de": ((".", ","), (".", ","), (".", ","), (".", ","), ("", ","), ("\u00a0", ",")),
    "en": ((",", "."), (",", "."), (",", "."), (",", "."), ("", ".")),
    "fr": (_SPACED, _SPACED, _SPACED, ("", ","), (".", ","), ("\u202f", ",")),
    "es": ((".", ","), (".", ","), (".", ","), ("", ","), ("\u00a0", ",")),
}
"""(thousands separator, decimal separator) by language."""

DATE_SHAPES: dict[str, tuple[str, ...]] = {
    "de": ("d.m.Y", "d.m.Y", "d.m.Y", "d.m.Y", "d.m.y", "d. M Y", "d. b Y", "Y-m-d", "d/m/Y", "d-m-Y"),
    "en": ("d/m/Y", "d/m/Y", "d M Y", "M d, Y", "d-b-Y", "Y-m-d", "d.m.Y", "d b Y", "b d, Y", "d-m-Y", "M d , Y"),
    "fr": ("d/m/Y", "d/m/Y", "d/m/Y", "d.m.Y", "d M Y", "d-m-Y", "Y-m-d", "d/m/y"),
    "es": ("d/m/Y", "d/m/Y", "d/m/Y", "d-m-Y", "d.m.Y", "d de M de Y", "Y-m-d", "d/m/y"),
}
MONTHS: dict[str, tuple[str, ...]] = {
    "de": tuple("Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()),
    "en": tuple("January February March April May June July August September October November December".split()),
    "fr": tuple("janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()),
    "es": tuple("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()),
}
SHORT_MONTHS: dict[str, tuple[str, ...]] = {
    "de": tuple("Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.".split()),
    "en": tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()),
}
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "CHF": "CHF", "JPY": "¥"}


def decimal(value: str, shape: tuple[str, str], *, places: int, keeps_sign_behind: bool = False) -> str:
    """A decimal with at least `places` decimal digits; more are kept if the value has them."""
    whole, _, fraction = value.partition(".")
    if len(fraction) <= places and whole.isdigit():  # nearly all are; arithmetic with decimals costs five times as much
        if len(whole) > 3:
            whole = f"{int(whole):,}".replace(",", shape[0])
        if not places:
            return whole
        return whole + shape[1] + (fraction if len(fraction) == places else f"{fraction:0<{places}}")
    number = Decimal(value)
    digits = max(places, -int(number.normalize().as_tuple().exponent))
    digits = 4 if digits == 3 != places else digits  # three decimals read like thousands
    plain = f"{abs(number).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP):,f}"
    plain = plain.replace(",", "\0").replace(".", shape[1]).replace("\0", shape[0])
    if number >= 0:
        return plain
    return f"{plain}-" if keeps_sign_behind else f"-{plain}"


def date(value: dt.date, shape: str, language: str) -> str:
    """A date by a shape of `DATE_SHAPES`: d m Y y are numbers, M a month's name, b its short form."""
    named = "M" in shape or "b" in shape
    short = SHORT_MONTHS.get(language, MONTHS[language])
    parts = {
        "d": str(value.day) if named else f"{value.day:02d}",
        "m": f"{value.month:02d}",
        "Y": str(value.year),
        "y": f"{value.year % 100:02d}",
        "M": MONTHS[language][value.month - 1],
        "b": short[value.month - 1],
    }
    if "de " in shape:
        return f"{parts['d']} de {parts['M']} de {parts['Y']}"
    return "".join(parts.get(char, char) for char in shape)


def grouped(value: str, size: int) -> str:
    """Characters in groups of `size`, as IBANs are printed."""
    return " ".join(value[start : start + size] for start in range(0, len(value), size))


def vat(value: str, shape: str) -> str:
    """A VAT id: `plain`, `space` after the country, or `groups` of three digits."""
    if value.startswith("CHE"):
        return f"CHE-{value[3:6]}.{value[6:9]}.{value[9:12]}"
    if not value[:2].isalpha():
        return value
    if shape == "space":
        return f"{value[:2]} {value[2:]}"
    if shape == "groups" and value[2:].isdigit():
        body = value[2:]
        head = len(body) % 3
        return " ".join(part for part in (value[:2], body[:head], grouped(body[head:], 3)) if part)
    return value


def misspell(rng: random.Random, word: str) -> str:
    """One slip of the pen: a letter dropped, doubled or two swapped."""
    if len(word) < 5:
        return word
    place = rng.randrange(1, len(word) - 2)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:place] + word[place + 1 :]
    if kind == 1:
        return word[:place] + word[place] + word[place:]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
