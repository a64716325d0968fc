"""Identifiers with right check digits: VAT ids, IBANs, BICs, and number formats of documents.

Making identifiers from a seeded `random.Random` belongs here; who owns them does not (`worlds`).
"""

import random
import re
import zlib
from collections.abc import Callable
from functools import lru_cache

from stdnum import iban as iban_rules

_EXACT = 15
_RUN = re.compile(r"#+|@+|[^#@]+")
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"

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
    if count > _EXACT:  # more than a float's digits
        return digits(rng, _EXACT) + digits(rng, count - _EXACT)
    return f"{int(rng.random() * 10**count):0{count}d}"


def fill(rng: random.Random, template: str) -> str:
    """Replace every `#` of `template` by a digit and every `@` by a capital letter."""
    return "".join(
        digits(rng, len(run)) if run[0] == "#" else "".join(rng.choices(_LETTERS, k=len(run))) if run[0] == "@" else run
        for run in _runs(template)
    )


@lru_cache(maxsize=4096)
def _runs(template: str) -> tuple[str, ...]:
    """A template in runs of places for digits, of places for letters, and of plain text."""
    return tuple(_RUN.findall(template))


def has_iban(country: str) -> bool:
    """Whether banks of the country give IBANs."""
    return country in _BBAN


def vat_id(rng: random.Random, country: str) -> str:
    """A VAT id that python-stdnum accepts, compact, with the country's prefix if it has one (`DE136695976`).

    Empty where there is none (US, KW).
    """
    return _VAT_MAKERS[country](rng) if country in _VAT_MAKERS else ""


def _weighted(body: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))


def _checked(rng: random.Random, weights: tuple[int, ...], *, sign: int = 1) -> str:
    """Digits with a check digit modulo 11, drawn again where that would be ten."""
    check = 10
    while check == 10:
        body = digits(rng, len(weights))
        check = sign * _weighted(body, weights) % 11
    return f"{body}{check}"


def _german_vat(rng: random.Random) -> str:
    from stdnum.iso7064 import mod_11_10

    body = "2" + digits(rng, 7)
    return f"DE{body}{mod_11_10.calc_check_digit(body)}"


def _austrian_vat(rng: random.Random) -> str:
    from stdnum.at import uid

    body = "U" + digits(rng, 7)
    return f"AT{body}{uid.calc_check_digit(body)}"


def _swiss_vat(rng: random.Random) -> str:
    return f"CHE{_checked(rng, (5, 4, 3, 2, 7, 6, 5, 4), sign=-1)}"


def _belgian_vat(rng: random.Random) -> str:
    body = "0" + digits(rng, 7)
    return f"BE{body}{-int(body) % 97 or 97:02d}"


def _luxembourg_vat(rng: random.Random) -> str:
    body = digits(rng, 6)
    return f"LU{body}{int(body) % 89:02d}"


def _spanish_vat(rng: random.Random) -> str:
    from stdnum.es import cif

    body = "B" + digits(rng, 7)
    return f"ES{body}{cif.calc_check_digits(body)[0]}"


def _british_vat(rng: random.Random) -> str:
    body = f"{rng.randint(1, 9)}{digits(rng, 6)}"
    return f"GB{body}{-_weighted(body, (8, 7, 6, 5, 4, 3, 2)) % 97:02d}"


def _italian_vat(rng: random.Random) -> str:
    body = digits(rng, 7) + "015"
    return f"IT{body}{_luhn(body)}"


def _hungarian_vat(rng: random.Random) -> str:
    body = digits(rng, 7)
    return f"HU{body}{-_weighted(body, (9, 7, 3, 1, 9, 7, 3)) % 10}"


def _polish_vat(rng: random.Random) -> str:
    return f"PL{_checked(rng, (6, 5, 7, 2, 3, 4, 5, 6, 7))}"


def _chilean_vat(rng: random.Random) -> str:
    from stdnum.cl import rut

    body = "7" + digits(rng, 7)
    return f"{body}{rut.calc_check_digit(body)}"


def _french_vat(rng: random.Random) -> str:
    body = digits(rng, 8)
    siren = body + _luhn(body)
    return f"FR{int(siren + '12') % 97:02d}{siren}"


def _dutch_vat(rng: random.Random) -> str:
    return f"NL{_checked(rng, (9, 8, 7, 6, 5, 4, 3, 2))}B01"


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
    "DE": _german_vat,
    "AT": _austrian_vat,
    "CH": _swiss_vat,
    "FR": _french_vat,
    "BE": _belgian_vat,
    "LU": _luxembourg_vat,
    "ES": _spanish_vat,
    "GB": _british_vat,
    "IT": _italian_vat,
    "HU": _hungarian_vat,
    "PL": _polish_vat,
    "CL": _chilean_vat,
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


def iban(rng: random.Random, country: str, bank: str) -> str:
    """An IBAN with right check digits (also the national ones of Spain, Belgium, Poland, Hungary), in compact form."""
    shape = _BBAN[country]
    letters = shape.count("A")
    body = fill(rng, shape.replace("A" * letters, bank[:letters]))
    if country == "BE":
        account = rng.choice(_BELGIAN_BANKS) + body[3:10]
        body = f"{account}{int(account) % 97 or 97:02d}"
    if country == "ES":
        from stdnum.es import ccc

        body = body[:8] + ccc.calc_check_digits(body) + body[10:]
    checks: str = iban_rules.calc_check_digits(f"{country}00{body}")
    return country + checks + body


def gln(rng: random.Random) -> str:
    """A GLN: thirteen digits, the last one checks."""
    return _with_check("40" + digits(rng, 10))


def gtin_of(thing: str) -> str:
    """The GTIN of a thing: always the same for the same words."""
    return _with_check(f"40{zlib.crc32(thing.encode()) % 10**10:010d}")


def sscc(rng: random.Random) -> str:
    """A serial shipping container code: 17 digits and a check digit."""
    return _with_check("340" + digits(rng, 14))


def _with_check(body: str) -> str:
    """Digits with the check digit of GS1: weights 3 and 1 from the right."""
    odd, even = sum(map(int, body[-1::-2])), sum(map(int, body[-2::-2]))
    return f"{body}{-(3 * odd + even) % 10}"


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


def number_formats(rng: random.Random) -> dict[str, str]:
    """Draw a format for numbers of every kind; `{y}` `{yy}` `{m}` `{d}` are parts of the date."""
    drawn = rng.randbytes(len(NUMBER_FORMATS))
    return {
        kind: shapes[byte % len(shapes)] for (kind, shapes), byte in zip(NUMBER_FORMATS.items(), drawn, strict=True)
    }
