"""Identifiers with right check digits: VAT ids, IBANs, BICs, and number formats of documents.

Making identifiers from a seeded `random.Random` belongs here; who owns them does not (`worlds`).
"""

import random
from functools import cache
from importlib import import_module
from typing import Any

from stdnum import iban as iban_rules

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"

# Country -> (module of python-stdnum, template of the number behind the prefix, printed prefix, count of check digits).
_VAT: dict[str, tuple[str, str, str, int]] = {
    "DE": ("stdnum.de.vat", "#########", "DE", 1),
    "AT": ("stdnum.at.uid", "U########", "AT", 1),
    "FR": ("stdnum.fr.tva", "###########", "FR", 0),
    "BE": ("stdnum.be.vat", "0#########", "BE", 2),
    "LU": ("stdnum.lu.tva", "########", "LU", 2),
    "NL": ("stdnum.nl.btw", "#########B##", "NL", 0),
    "GB": ("stdnum.gb.vat", "#########", "GB", 2),
    "IT": ("stdnum.it.iva", "###########", "IT", 0),
    "ES": ("stdnum.es.cif", "B########", "ES", 1),
    "CH": ("stdnum.ch.uid", "#########", "CHE", 1),
}
# Country -> shape of the BBAN: letters for the bank code (if any), then digits.
_BBAN: dict[str, str] = {
    "DE": "##################",
    "AT": "################",
    "FR": "#######################",
    "BE": "############",
    "LU": "################",
    "NL": "AAAA##########",
    "GB": "AAAA##############",
    "IT": "A######################",
    "ES": "####################",
    "CH": "#################",
}
_BELGIAN_BANKS = ("001", "063", "310", "363", "733", "979")
_BANK_CODES = (
    "COBA DEUT BNPA SOGE CRLY AGRI BBVA CAIX BSCH UBSW RAIF OPSK BARC LOYD MIDL NWBK GEBA KRED INGB RABO ABNA UNCR "
    "BCIT BILL CCPL HELA GENO SOLA BYLA POFI ZKBK WELA DRES NORD SPAR"
).split()


def digits(rng: random.Random, count: int) -> str:
    """`count` random digits."""
    return "".join(rng.choices(_DIGITS, k=count))


def fill(rng: random.Random, template: str) -> str:
    """Replace every `#` of `template` by a digit and every `@` by a capital letter."""
    return "".join(
        rng.choice(_DIGITS) if char == "#" else rng.choice(_LETTERS) if char == "@" else char for char in template
    )


def has_vat_id(country: str) -> bool:
    """Whether companies of that country get a VAT id here."""
    return country in _VAT


def vat_id(rng: random.Random, country: str) -> str:
    """A VAT id that python-stdnum accepts, in compact form with country prefix (`DE136695976`); empty for the US."""
    if country not in _VAT:
        return ""
    module, template, prefix, checks = _VAT[country]
    while True:
        number = _valid_vat(rng, country, module, template, checks)
        if number:
            return prefix + number


def _valid_vat(rng: random.Random, country: str, module: str, template: str, checks: int) -> str:
    """One draw, completed where the check digits stand last; empty when the draw is not valid."""
    prefix = "CHE" if country == "CH" else ""
    body = fill(rng, template)
    if country == "FR":
        return _french_vat(rng)
    if country == "IT":
        body = body[:7] + "015" + _luhn(body[:7] + "015")
    if country == "NL":
        return _dutch_vat(rng)
    for tail in range(10**checks):
        candidate = body[: len(body) - checks] + (f"{tail:0{checks}d}" if checks else "")
        if _validator(module).is_valid(prefix + candidate):
            return candidate
    return ""


def _french_vat(rng: random.Random) -> str:
    body = digits(rng, 8)
    siren = body + _luhn(body)
    return f"{int(siren + '12') % 97:02d}{siren}"


def _dutch_vat(rng: random.Random) -> str:
    body = digits(rng, 8)
    check = sum(int(digit) * weight for digit, weight in zip(body, range(9, 1, -1), strict=True)) % 11
    return "" if check == 10 else f"{body}{check}B01"


def _luhn(body: str) -> str:
    total = 0
    for position, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


@cache
def _validator(module: str) -> Any:
    return import_module(module)


def iban(rng: random.Random, country: str, bank: str) -> str:
    """An IBAN with right check digits (also the national ones of Spain and Belgium), in compact form."""
    shape = _BBAN[country if country in _BBAN else "GB"]
    country = country if country in _BBAN else "GB"
    letters = iter(bank)
    body = "".join(next(letters) if char == "A" else rng.choice(_DIGITS) for char in shape)
    if country == "BE":
        account = rng.choice(_BELGIAN_BANKS) + body[3:10]
        body = f"{account}{int(account) % 97 or 97:02d}"
    if country == "ES":
        from stdnum.es import ccc

        body = body[:8] + ccc.calc_check_digits(body) + body[10:]
    checks: str = iban_rules.calc_check_digits(f"{country}00{body}")
    return country + checks + body


def bank_code(rng: random.Random) -> str:
    """Four letters of a bank."""
    return rng.choice(_BANK_CODES)


def bic(rng: random.Random, country: str, bank: str) -> str:
    """A BIC of eight or eleven characters whose first four are `bank`."""
    place = fill(rng, rng.choice(("@@", "@#", "##")))
    branch = rng.choice(("", "", "XXX", fill(rng, "###"), fill(rng, "@@@")))
    return f"{bank}{country}{place}{branch}"


# Words separated by spaces; `~` stands for a space inside a format.
NUMBER_FORMATS: dict[str, tuple[str, ...]] = {
    kind: tuple(entry.replace("~", " ") for entry in shapes.split())
    for kind, shapes in {
        "PURCHASE_ORDER": (
            "45######## 45######## 45######## PO######## PO-{y}-#### ####/{y} B######### {y}-###### EK-##### "
            "####-#### PO#### C{yy}/##### BST{yy}##### P##### {yy}-####-@@ BE~{y}~#### 70####### @@-##### "
            "PO/{y}/{m}/#### ORD-####-#@ CMD{y}#### PED-#####"
        ),
        "SALES_ORDER": (
            "00######## SO-##### AB-{y}-#### 1######## AB###### A{yy}##### {y}/#### OC-###### S##### "
            "AUF####### SO{y}{m}### CV#### 3####### ##-##### K{y}-##### CP/{yy}/####"
        ),
        "GOODS_RECEIPT": (
            "50######## 50######## WE-{y}-#### GR####### WE######## BR-##### R{yy}-##### ####/{yy} EM-###### "
            "49######## GRN-##### MAT#######"
        ),
        "SUPPLIER_INVOICE": (
            "RE-{y}-#### {y}##### R######## INV-##### INV/{y}/{m}/#### F{y}-#### FA-{y}-#### 90######## "
            "####### ###### {yy}-##### RG{yy}#### {y}{m}{d}-## RE-{y}{m}{d}/### #####/{y} A-##### ####.#### "
            "FV{yy}/#### @@####### SI+##### ######## ####~#### {y}/##/#### FAC-###### No#### ##-####-# "
            "R-#######-@ {y}.#### @@@_@###{y}######### ############ #####-@@"
        ),
        "DELIVERY_NOTE": ("80######## LS-##### L######## BL{yy}#### DN-##### D{y}#### ########## ALB-####"),
        "CUSTOMER": ("###### ##### K##### 10##### D-##### C#### ##.#### GE####### KD-#### # 9##-###"),
        "CONTRACT": ("46######## CON##### V-{y}-## RV##### K-####/{yy}"),
        "MATERIAL": (
            "0000000000######## MAT-##### ####### @@-#### ######-## @#### ##.###.## @@@##### 4############ "
            "####-### @#-##-### 1000#### HZ####@ #####"
        ),
    }.items()
}


def number_format(rng: random.Random, kind: str) -> str:
    """Draw a format for numbers of `kind`; `{y}` `{yy}` `{m}` `{d}` are parts of the date."""
    return rng.choice(NUMBER_FORMATS[kind])
