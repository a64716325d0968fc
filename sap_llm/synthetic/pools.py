"""Pools of words that companies, people, addresses and goods are made of.

Reading the pool file and composing names from it belongs here; who trades with whom does not (`worlds`). People's
names come from the Faker locales, everything else from `data/pools.yaml` and `data/countries.yaml`.
"""

import random
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

import yaml

LANGUAGE_OF: dict[str, str] = {
    "DE": "de", "AT": "de", "CH": "de", "FR": "fr", "LU": "fr", "BE": "fr", "TN": "fr", "ES": "es", "MX": "es",
    "CL": "es", "GB": "en", "US": "en", "NL": "en", "IT": "en", "JP": "en", "KR": "en", "KW": "en", "BH": "en",
    "HU": "en", "PL": "en", "SE": "en",
}  # fmt: skip
_PERSON_LOCALE = {"de": "de_DE", "fr": "fr_FR", "es": "es_ES", "en": "en_GB"}
_VOWELS, _STARTS, _ENDS = (
    "aeiou",
    ("b br c cr d dr f fl g gr h k kl l m n p pl pr r s st t tr v w z".split()),
    ("tec tek lux nova mat gen dur pro lab form med san tron flex plan ron max dyn con sys vent lin".split()),
)


@cache
def read_data(name: str) -> dict[str, Any]:
    """A YAML file of this package's `data` folder, read with libyaml where that is built in (10x faster)."""
    text = files("sap_llm.synthetic").joinpath(f"data/{name}.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders
    return loaded


def pools() -> dict[str, Any]:
    """The pool file."""
    return read_data("pools")


def countries() -> dict[str, Any]:
    """What is usual in each country."""
    return read_data("countries")


@cache
def _people(language: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Given names of women and of men, and family names."""
    provider = import_module(f"faker.providers.person.{_PERSON_LOCALE[language]}").Provider
    return (
        tuple(provider.first_names_female),
        tuple(provider.first_names_male),
        tuple(name for name in provider.last_names if " " not in name),
    )


def first_name(rng: random.Random, language: str, gender: str = "") -> str:
    """A given name of the language; `gender` is female, male or any."""
    return rng.choice(_people(language)[{"female": 0, "male": 1}.get(gender, rng.randrange(2))])


def surname(rng: random.Random, language: str) -> str:
    """A family name of the language."""
    return rng.choice(_people(language)[2])


def invented_word(rng: random.Random) -> str:
    """A pronounceable word that belongs to no language, capitalised."""
    syllables = "".join(rng.choice(_STARTS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 2)))
    return (syllables + rng.choice(_ENDS)).capitalize()


_COMPANIES = (
    "{one} {trade}", "{word} {trade}", "{trade} {one}", "{one} & {two}", "{word}", "{trade} {place}",
    "{one} & {two} {trade}", "{word} {place}", "{first} {one}", "{word}-{trade}", "{one} {business}",
    "{word} {business} {trade}", "{trade} {one} {and} {kin}", "{word} {trade2} {trade}", "{business} {word}",
    "{letters} {trade}",
)  # fmt: skip


def company_name(rng: random.Random, country: str) -> str:
    """A company's name with a legal form of its country."""
    language = LANGUAGE_OF[country]
    pool = pools()[language]
    form = rng.choice(countries()[country]["legal_forms"])
    word, one = invented_word(rng), surname(rng, language)
    shape = rng.choice(_COMPANIES)
    core = shape.format(
        one=one, word=word, trade=rng.choice(pool["trades"]), trade2=rng.choice(pool["trades"]),
        two=surname(rng, language), place=rng.choice(countries()[country]["cities"])[1].split(",")[0],
        first=first_name(rng, language), business=rng.choice(pool["business_words"]), kin=rng.choice(pool["kin"]),
        letters="".join(rng.choices("ABCDEFGHKLMNPRSTVWZ", k=3)), **{"and": rng.choice(pool["and"])},
    )  # fmt: skip
    name = f"{core} {form}".strip()
    if rng.random() < 0.08:
        name = name.upper()
    elif rng.random() < 0.05:  # companies write themselves as they like
        name = f"{word.lower()}{rng.choice(('.', '-', ''))}{rng.choice(('io', 'net', 'group', 'works'))} {form}".strip()
    if rng.random() < 0.04:
        name = f"{first_name(rng, language)} {one}"
    elif rng.random() < 0.03:
        name = rng.choice(pool["placeholder_names"]) + (f" {rng.choice('ABC123')}" if rng.random() < 0.3 else "")
    elif rng.random() < 0.3:
        name = house_name(rng, country) + (f" {form}" if form and rng.random() < 0.25 else "")
    return name


def house_name(rng: random.Random, country: str) -> str:
    """A name without trade or legal form: inns, shops, town halls, clubs."""
    language = LANGUAGE_OF[country]
    pool = pools()[language]
    words = {
        "noun": rng.choice(pool["nouns"]), "noun2": rng.choice(pool["nouns"]), "adj": rng.choice(pool["adjectives"]),
        "surname": surname(rng, language), "surname2": surname(rng, language), "first": first_name(rng, language),
        "city": rng.choice(countries()[country]["cities"])[1].split(",")[0], "word": invented_word(rng),
        "trade": rng.choice(pool["trades"]), "number": str(rng.randint(2, 2400)),
    }  # fmt: skip
    words |= {name.upper(): word.upper() for name, word in words.items()}
    name: str = rng.choice(pool["houses"]).format(**words)
    return name.upper() if rng.random() < 0.12 else name


def address(rng: random.Random, country: str) -> dict[str, str]:
    """Street, postcode, city, country code and country name of a place in the country."""
    language = LANGUAGE_OF[country]
    postcode, city = rng.choice(countries()[country]["cities"])
    postcode = "".join(rng.choice("0123456789") if char == "#" else char for char in str(postcode))
    street = rng.choice(pools()[language]["streets"]).replace("{n}", surname(rng, language))
    number = rng.choice(
        (
            str(rng.randint(1, 199)),
            f"{rng.randint(1, 60)}{rng.choice('abc')}",
            f"{rng.randint(1, 40)}-{rng.randint(41, 60)}",
        )
    )
    line = f"{street} {number}" if language in ("de", "es") else f"{number} {street}"
    place = {"street": line, "extra": "", "postcode": postcode, "city": city, "country": country}
    if rng.random() < 0.25:
        place["extra"] = rng.choice(pools()[language]["address_extras"]).format(
            n=rng.randint(1, 90), letter=rng.choice("ABCDE"), person=surname(rng, language), city=city
        )
    return place


def placeholder_address(rng: random.Random, country: str, role: str) -> dict[str, str]:
    """An address as on sample documents, where names of fields stand for values."""
    place = address(rng, country)
    shape = rng.choice(("{}_ADDR_{}", "{}_STREET_{}", "{}_ADDRESS_LINE_{}", "{}-Street {}"))
    place |= {"street": shape.format(role, 1), "extra": rng.choice((shape.format(role, 2), "")), "city": f"{role}_CITY"}
    return place


def salutation(rng: random.Random, language: str, gender: str) -> str:
    """What stands before the name of a woman (`female`) or a man (`male`)."""
    word: str = rng.choice(pools()[language]["salutations"][gender])
    return word
