"""Identifiers with right check digits: VAT ids, IBANs, BICs, and number formats of documents.

Making identifiers from a seeded `random.Random` belongs here; who owns them does not (`worlds`).
"""

import random
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from stdnum import ean
from stdnum import iban as iban_rules

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"

# Country -> (module of python-stdnum, template of the number behind the prefix, printed prefix, count of check digits).
_VAT: dict[str, tuple[str, str, str, int]] = {
    "DE": ("stdnum.de.vat", "#########", "DE", 1),
    "AT": ("stdnum.at.uid", "U########", "AT", 1),
    "BE": ("stdnum.be.vat", "0#########", "BE", 2),
    "LU": ("stdnum.lu.tva", "########", "LU", 2),
    "GB": ("stdnum.gb.vat", "#########", "GB", 2),
    "IT": ("stdnum.it.iva", "###########", "IT", 0),
    "ES": ("stdnum.es.cif", "B########", "ES", 1),
    "CH": ("stdnum.ch.uid", "#########", "CHE", 1),
    "HU": ("stdnum.hu.anum", "########", "HU", 1),
    "PL": ("stdnum.pl.nip", "##########", "PL", 1),
    "CL": ("stdnum.cl.rut", "7########", "", 1),
}
_TUNISIAN_KEYS = "ABCDEFGHJKLMNPQRSTVWXYZ"
# Country -> shape of the BBAN: letters for the bank code (if any), then digits. Countries without IBAN are left out.
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
    "TN": "####################",
    "KW": "AAAA######################",
    "BH": "AAAA##############",
    "HU": "########################",
    "PL": "########################",
    "SE": "####################",
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


def has_iban(country: str) -> bool:
    """Whether banks of the country give IBANs."""
    return country in _BBAN


def vat_id(rng: random.Random, country: str) -> str:
    """A VAT id that python-stdnum accepts, compact, with the country's prefix if it has one (`DE136695976`).

    Empty where there is none (US, KW).
    """
    if country in _VAT_MAKERS:
        return _VAT_MAKERS[country](rng)
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
    if country == "IT":
        body = body[:7] + "015" + _luhn(body[:7] + "015")
    for tail in range(10**checks):
        candidate = body[: len(body) - checks] + (f"{tail:0{checks}d}" if checks else "")
        if _validator(module).is_valid(prefix + candidate):
            return candidate
    return ""


def _french_vat(rng: random.Random) -> str:
    body = digits(rng, 8)
    siren = body + _luhn(body)
    return f"FR{int(siren + '12') % 97:02d}{siren}"


def _dutch_vat(rng: random.Random) -> str:
    check = 10
    while check == 10:
        body = digits(rng, 8)
        check = sum(int(digit) * weight for digit, weight in zip(body, range(9, 1, -1), strict=True)) % 11
    return f"NL{body}{check}B01"


def _swedish_vat(rng: random.Random) -> str:
    body = "55" + digits(rng, 7)
    return f"SE{body}{_luhn(body)}01"


def _japanese_vat(rng: random.Random) -> str:
    from stdnum.jp import cn

    body = digits(rng, 12)
    return f"T{cn.calc_check_digit(body)}{body}"


def _mexican_vat(rng: random.Random) -> str:
    from stdnum.mx import rfc

    body = fill(rng, "@@@") + f"{rng.randint(60, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    body += f"{rng.randint(1, 9)}{rng.choice(_LETTERS)}"
    return body + str(rfc.calc_check_digit(body))


_VAT_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "FR": _french_vat,
    "NL": _dutch_vat,
    "SE": _swedish_vat,
    "JP": _japanese_vat,
    "MX": _mexican_vat,
    "TN": lambda rng: digits(rng, 7) + rng.choice(_TUNISIAN_KEYS),
    "KR": lambda rng: f"{rng.randint(101, 899)}{rng.randint(1, 89):02d}{rng.randint(10001, 99999)}",
    "BH": lambda rng: "2" + digits(rng, 12) + "02",
}


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
    """An IBAN with right check digits (also the national ones of Spain, Belgium, Poland, Hungary), in compact form."""
    shape = _BBAN[country]
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


def gtin(rng: random.Random) -> str:
    """Thirteen digits with their check digit: a GTIN, or a GLN."""
    body = "40" + digits(rng, 10)
    return body + str(ean.calc_check_digit(body))


def sscc(rng: random.Random) -> str:
    """A serial shipping container code: 17 digits and a check digit."""
    body = "340" + digits(rng, 14)
    return body + str(ean.calc_check_digit(body))


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
        "REQUISITION": "10######## BANF-##### 001####### PR{yy}##### BA{y}#### DA-##### SOL-#### REQ-###### R{y}-####",
        "INQUIRY": "60######## RFQ-##### ANF{yy}#### {y}/A/### AN-#### DP{y}### PET-##### 61####### Q{yy}-####",
        "QUOTATION": (
            "20######## AN-{y}-#### ANG##### Q-##### QU{yy}#### DEV-{y}-### D{yy}##### OF-##### P{y}/#### "
            "{y}-#### A{m}{yy}-### OFF###### 2########"
        ),
        "SCHEDULING_AGREEMENT": "55######## LP-##### SA-#### 550000#### PL{yy}#### PE-#####",
        "CREDIT_NOTE": (
            "GS-{y}-#### G##### CN-##### CN/{y}/#### AV-{y}-### A##### AB-#### R{yy}-#### 90######## {y}8#### "
            "CR###### ####### NC-{y}#### RC-#####"
        ),
        "DEBIT_NOTE": "BL-{y}-### DN-##### ND-{y}#### 51######## D{yy}##### DB-#### LS{y}### ######",
        "MATERIAL_DOCUMENT": "49######## 50######## MB-##### 49000##### {y}####### MD{yy}#####",
        "BILLING": "90######## 90######## 9########## 0090###### 93########",
        "OUTBOUND": "80######## 80######## 0080###### 8########",
        "ORDER_OF_SALES": "00######## 1######### 0000###### 30######",
        "RETURNS": "60######## RMA-##### RT{yy}#### 84###### R-{y}-####",
        "SERVICE_ENTRY": "10######## 100####### LE-##### SES####",
        "CATALOGUE": "PL-{y} KAT-{y}-# PR{yy}-## TARIF-{y} {y}/# LP{y}# CAT-####",
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
