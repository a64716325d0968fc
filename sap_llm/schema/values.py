"""Canonical forms of values by taxonomy type: what `1.234,56 €` or `5. März 2018` mean.

Belongs here: pure functions from printed text to canonical strings and the equality that scores and alignment use. How
values are printed is `synthetic`; which words a model chose is `modeling`.

Canonical forms: amounts are plain decimals with at least two places, quantities and percentages without trailing zeros,
dates ISO 8601, currencies ISO 4217, identifiers (VAT, IBAN, BIC) without spaces and punctuation, text with single
spaces. Without a language, text that is already canonical stays as it is.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_GROUPING = " \t\u00a0\u2009\u202f'\u2019`"
_DASHES = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2014": "-", "\u2011": "-"})
_MAX_DIGITS = 24

CURRENCY_SYMBOLS = {
    "€": "EUR",
    "EURO": "EUR",
    "EUROS": "EUR",
    "$": "USD",
    "US$": "USD",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
    "RS": "INR",
    "RS.": "INR",
    "RM": "MYR",
    "RP": "IDR",
    "FR.": "CHF",
    "SFR": "CHF",
    "SFR.": "CHF",
    "ZŁ": "PLN",
    "KČ": "CZK",
    "KR": "SEK",
    "C$": "CAD",
    "A$": "AUD",
}
"""Printed signs and words (upper case) to ISO 4217; `kr` is read as Swedish."""

_CURRENCY_DECIMALS = {"JPY": 0, "KRW": 0, "CLP": 0, "HUF": 0, "KWD": 3, "BHD": 3, "TND": 3}  # HUF by habit, else ISO

DEDUCTIONS = frozenset({"allowance_amount", "prepaid_amount", "discount_amount"})
"""Fields that are stated without a sign (EN 16931), and often printed with a minus."""
LEGAL_FORM = (
    r"(?:gmbh(?: ?& ?co\.? ?kg)?|ges\.m\.b\.h\.|ag|kg|ohg|ug|se|e\.\s?k\.|e\.\s?v\.|eg|a\.g\.|ltd\.?|limited|plc|llp"
    r"|llc|inc\.?|corp\.?|corporation|company|sarl|s[àa]rl|s\.à r\.l\.|sas|sasu|sa|s\.a\.|eurl|snc|sl|s\.l\.u?\.?"
    r"|s\. ?coop\.?|srl|s\.r\.l\.|s\.p\.a\.|b\.?v\.?|n\.?v\.?)"
)
"""Ends of company names, as a regular expression for text without case."""

_MONEY_SIGN = r"(?:US\$|C\$|A\$|[€$£¥₹]|EUROS?|R[SP]\.?|RM|S?FR\.?|ZŁ|KČ|KR\.?|[A-Z]{3})"
_NUMBER = re.compile(
    rf"^(?P<open>\()?\s*(?P<sign>[+-])?\s*(?:{_MONEY_SIGN}\s*)?(?P<sign2>[+-])?\s*"
    rf"(?P<digits>\d[\d.,{_GROUPING}]*|[.,]\d+)(?:(?<=[.,])-{{1,2}}(?=\s|$))?(?P<close>\))?\s*(?P<tail>.*)$",
    re.IGNORECASE,
)
_AMOUNT_TAIL = re.compile(rf"^(?:{_MONEY_SIGN})?\s*(?P<sign>[+-]|CR)?\s*(?:{_MONEY_SIGN})?\)?$", re.IGNORECASE)
_GROUPED_DOT = re.compile(r"^\d{1,3}(?:\.\d{2,3})*\.\d{3}$")
_GROUPED_COMMA = re.compile(r"^\d{1,3}(?:,\d{2,3})*,\d{3}$")

_MONTHS = {
    1: "january jan januar jaenner jan janvier janv enero ene",
    2: "february feb februar fevrier fevr fev febrero",
    3: "march mar marz maerz mrz mars marzo",
    4: "april apr avril avr abril abr",
    5: "may mai mayo",
    6: "june jun juni juin junio",
    7: "july jul juli juillet juil julio",
    8: "august aug aout agosto ago",
    9: "september sep sept septembre septiembre set setiembre",
    10: "october oct oktober okt octobre octubre",
    11: "november nov novembre noviembre",
    12: "december dec dezember dez decembre diciembre dic",
}
_MONTH_BY_NAME = {name: number for number, names in _MONTHS.items() for name in names.split()}
_ISO_DATE = re.compile(r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_COMPACT_DATE = re.compile(r"^(\d{4})(\d{2})(\d{2})(?:\d{4}|\d{6})?$")
_NUMERIC_DATE = re.compile(r"^\D{0,12}?(\d{1,2})\s?([-/.])\s?(\d{1,2})\s?[-/.]\s?(\d{4}|\d{2})(?!\d)")
_NAMED_DATE = re.compile(r"\d+|[a-z]+")

_UNITS = {
    "PC": "c62 h87 pc pcs pce pces piece pieces st stk stck stueck stuck ea each unit units un u ud uds unidad",
    "KG": "kgm kg kgs kilo kilogram kilogramm kilogramme",
    "G": "grm g gr gram gramm",
    "T": "tne t to ton tonne tonnen",
    "L": "ltr l lt liter liters litre litres litro litros",
    "M": "mtr m meter metre metres metro metros lm",
    "M2": "mtk m2 qm sqm",
    "M3": "mtq m3 cbm",
    "H": "hur h hr hrs std stunde stunden hour hours heure heures hora horas",
    "DAY": "day days tag tage jour jours dia dias",
    "MON": "mon month months monat monate mois mes meses",
    "KWH": "kwh",
    "KM": "kmt km",
    "BOX": "bx box karton kartons carton caja cajas boite",
    "SET": "set sets satz",
}
_UNIT_BY_NAME = {name: code for code, names in _UNITS.items() for name in names.split()}


@lru_cache(maxsize=65_536)  # documents repeat their values, and every comparison reads both sides again
def canonical(value: str, type: str, *, language: str | None = None) -> str | None:  # noqa: A002
    """Canonical form of a printed value, or None when it is not a value of that type.

    Args:
        value: Text as printed, or already canonical.
        type: Taxonomy type: string, date, amount, quantity, integer, percent, currency, unit, vat_id, iban, bic,
            country.
        language: ISO 639-1 code of the document. It decides single separators before three digits (`1.234` is 1234 in
            German, 1.234 in English; without a language a point is decimal, a comma groups). Numeric dates are read day
            first where both orders are possible, except in `en-us`.
    """
    text = _squeezed(value)
    if not text:
        return None
    reader = _READERS.get(type)
    return reader(text, language) if reader else text


def equal(a: str, b: str, type: str, *, language: str | None = None) -> bool:  # noqa: A002
    """Whether two values mean the same; text is compared without case, outer punctuation and repeated spaces."""
    left, right = canonical(a, type, language=language), canonical(b, type, language=language)
    if left is None or right is None or type == "string":
        return folded(a) == folded(b)
    return left == right


def folded(text: str) -> str:
    """Text for comparison: lower case, single spaces, no punctuation around it."""
    return _squeezed(text).casefold().strip(" .,;:!?'\"()[]{}*#-–—_/|")


def currency_decimals(currency: str) -> int:
    """Decimal places of amounts in the currency (ISO 4217): 0, 2 or 3; 2 where it is unknown."""
    return _CURRENCY_DECIMALS.get(currency, 2)


def decimal(value: str, *, language: str | None = None) -> Decimal | None:
    """The number in an amount with or without currency; None if there is none."""
    found = _number(_squeezed(value), language)
    return found[0] if found and _AMOUNT_TAIL.match(found[1]) else None


def format_decimal(number: Decimal, *, places: int = 0) -> str:
    """Plain decimal without exponent and trailing zeros, but with at least `places` places."""
    text = format(number, "f")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(places, "0")
    text = f"{whole}.{fraction}" if fraction else whole
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def _squeezed(text: str) -> str:
    if text.isascii():
        return " ".join(text.split())
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _number(text: str, language: str | None) -> tuple[Decimal, str] | None:
    """The number in front of `text` (a currency may precede it) and what follows it."""
    match = _NUMBER.match(text.translate(_DASHES).rstrip(" :;"))
    if not match:
        return None
    digits = match["digits"].rstrip(_GROUPING + ".,")
    plain = _plain(digits, language)
    if plain is None or len(plain) > _MAX_DIGITS:
        return None
    try:
        number = Decimal(plain)
    except InvalidOperation:
        return None
    tail = match["tail"].strip()
    is_negative = "-" in (match["sign"], match["sign2"]) or bool(match["open"] and (match["close"] or ")" in tail))
    trailing = _AMOUNT_TAIL.match(tail)
    if trailing and (trailing["sign"] or "").upper() in ("-", "CR"):
        is_negative = not is_negative
    return (-number if is_negative else number), tail


def _plain(digits: str, language: str | None) -> str | None:
    """Digits with separators of any country to digits with a point; None if the separators make no sense."""
    for char in _GROUPING:
        digits = digits.replace(char, "")
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        group, mark = (",", ".") if digits.rfind(".") > digits.rfind(",") else (".", ",")
        if digits.count(mark) > 1:
            return None
        return digits.replace(group, "").replace(mark, ".")
    if points > 1:
        return digits.replace(".", "") if _GROUPED_DOT.match(digits) else None
    if commas > 1:
        return digits.replace(",", "") if _GROUPED_COMMA.match(digits) else None
    is_group = len(digits) - max(digits.rfind("."), digits.rfind(",")) == 4 and digits[0] not in "0.,"
    is_english = language is None or language.startswith("en")
    if is_group and points and not is_english and _GROUPED_DOT.match(digits):
        return digits.replace(".", "")
    if is_group and commas and is_english and _GROUPED_COMMA.match(digits):
        return digits.replace(",", "")
    return digits.replace(",", ".")


def _amount(text: str, language: str | None) -> str | None:
    found = _number(text, language)
    if not found or not _AMOUNT_TAIL.match(found[1]):
        return None
    return format_decimal(found[0], places=2)


def _quantity(text: str, language: str | None) -> str | None:
    found = _number(text, language)
    if not found or any(char.isdigit() for char in found[1]):  # a unit may follow, another number may not
        return None
    return format_decimal(found[0])


def _integer(text: str, language: str | None) -> str | None:
    found = _number(text, language)
    if not found or found[1] or found[0] != found[0].to_integral_value():
        return None
    return format_decimal(found[0])


def _percent(text: str, language: str | None) -> str | None:
    found = _number(text.strip("()[]:;% "), language)  # brackets mean no sign here
    if not found or found[1].strip(" ."):
        return None
    return format_decimal(found[0])


def _date(text: str, language: str | None) -> str | None:
    if match := _ISO_DATE.match(text):
        return _iso(int(match[1]), int(match[2]), int(match[3]))
    if match := _COMPACT_DATE.match(text):
        return _iso(int(match[1]), int(match[2]), int(match[3])) or _iso(int(text[4:8]), int(text[2:4]), int(text[:2]))
    if match := _NUMERIC_DATE.match(text):
        first, second, year = int(match[1]), int(match[3]), _year(match[4])
        is_month_first = second > 12 or (language or "").lower() == "en-us"
        if is_month_first and first <= 12 and match[2] != ".":
            first, second = second, first
        return _iso(year, second, first)
    return _named_date(text)


def _named_date(text: str) -> str | None:
    """Dates with a month by name: `5. März 2018`, `MAR 5, 2018`, `1er août 18`."""
    tokens = _NAMED_DATE.findall(_unaccented(text))
    position = next((index for index, token in enumerate(tokens) if token in _MONTH_BY_NAME), None)
    if position is None:
        return None
    before = [token for token in tokens[:position] if token.isdigit() and len(token) <= 2]
    after = [token for token in tokens[position + 1 :] if token.isdigit()]
    numbers = [*before[-1:], *after]
    if len(numbers) < 2 or len(numbers[0]) > 2 or len(numbers[1]) not in (2, 4):
        return None
    return _iso(_year(numbers[1]), _MONTH_BY_NAME[tokens[position]], int(numbers[0]))


def _year(text: str) -> int:
    year = int(text)
    if len(text) == 4:
        return year
    return year + (2000 if year < 70 else 1900)


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _unaccented(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in parts if not unicodedata.combining(char))


def _currency(text: str, _language: str | None) -> str | None:
    name = text.upper().strip(" ()[]:,;/")
    for spelling in (name, name.strip(".")):
        if spelling in CURRENCY_SYMBOLS:
            return CURRENCY_SYMBOLS[spelling]
    name = name.strip(".")
    return name if name in _currencies() else None


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    """ISO 4217 codes of what has been legal tender anywhere in this century; three capitals alone may be any name."""
    from babel.core import get_global

    uses = (use for country in get_global("territory_currencies").values() for use in country)
    return frozenset(code for code, _, end, is_tender in uses if is_tender and (end is None or end[0] > 2000))


def _unit(text: str, _language: str | None) -> str | None:
    name = re.sub(r"\(.*?\)|[^a-z0-9]", "", _unaccented(text).replace("³", "3").replace("²", "2"))
    return _UNIT_BY_NAME.get(name, text.upper().strip(" .")) or None


def _identifier(text: str, _language: str | None) -> str | None:
    return re.sub(r"[\W_]", "", text).upper() or None


def _iban(text: str, _language: str | None) -> str | None:
    found = re.sub(r"[\W_]", "", text).upper().removeprefix("IBAN")
    return found if re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{8,30}", found) else None


def _bic(text: str, _language: str | None) -> str | None:
    found = re.sub(r"[\W_]", "", text).upper()
    if not re.fullmatch(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", found):
        return None
    return found[:8] if found.endswith("XXX") and len(found) == 11 else found  # the main office may be left out


def _country(text: str, _language: str | None) -> str | None:
    name = text.upper().strip(" .,-()")
    return name if len(name) == 2 and name.isalpha() else None


_READERS: dict[str, Callable[[str, str | None], str | None]] = {
    "amount": _amount,
    "quantity": _quantity,
    "integer": _integer,
    "percent": _percent,
    "date": _date,
    "currency": _currency,
    "unit": _unit,
    "vat_id": _identifier,
    "iban": _iban,
    "bic": _bic,
    "country": _country,
}
