"""Documents on demand: which facts of the closed worlds a request means.

Choosing facts by class and language belongs here; what becomes of the documents does not (`folder`, `contact_sheet`,
`diversity`), nor the stage that fills the corpus (`stage`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any

from pydantic import BaseModel, ConfigDict

from sap_llm.schema.errors import ConfigurationError
from sap_llm.synthetic.classes import trade_classes
from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
from sap_llm.synthetic.papers_values import PAPER_TYPES
from sap_llm.synthetic.pools import LANGUAGE_OF
from sap_llm.synthetic.stage import SyntheticDocsConfig, issuer_style

FactRow = Mapping[str, Any]

DOCUMENT_TYPES = trade_classes()
"""Classes of the trade documents that chains have, made when none is named."""
_WORLDS_IN_VAIN = 400
LANGUAGES = tuple(sorted(set(LANGUAGE_OF.values())))


class Request(BaseModel):
    """Which documents are wanted; equal requests mean the same documents in the same order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: BusinessFactsConfig
    documents: SyntheticDocsConfig
    document_types: tuple[str, ...] = DOCUMENT_TYPES
    languages: tuple[str, ...] = LANGUAGES


def known_types(names: Sequence[str]) -> tuple[str, ...]:
    """Document classes by their names in any case, or `all`; the trade documents when none is named.

    Raises:
        ConfigurationError: A name is none of them.
    """
    every = (*DOCUMENT_TYPES, *PAPER_TYPES)
    if [name.lower() for name in names] == ["all"]:
        return every
    return _known([name.upper() for name in names], every, "document type", DOCUMENT_TYPES)


def known_languages(names: Sequence[str]) -> tuple[str, ...]:
    """Languages by their ISO 639-1 codes in any case; all that the generator writes when none is named.

    Raises:
        ConfigurationError: A code is none of them.
    """
    return _known([name.lower() for name in names], LANGUAGES, "language", LANGUAGES)


def _known(names: Sequence[str], known: tuple[str, ...], what: str, default: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"the generator knows no {what} {name.lower()!r}",
                remedy=f"Choose from {', '.join(one.lower() for one in known)}.",
            )
    return tuple(one for one in known if one in names) or default


def facts_of_worlds(request: Request) -> Iterator[list[FactRow]]:
    """The wanted facts of world 0, 1, 2 and so on without end; a world may have none.

    A paper that is asked for is made for every chain that has the ground for it, whatever share the profile gives it.

    Raises:
        ConfigurationError: Many worlds in a row have none: the configured chains do not make such documents.
    """
    last = 0
    for number in count():
        found = facts_of_world(request, number)
        last = number if found else last
        if number - last > _WORLDS_IN_VAIN:
            raise ConfigurationError(
                f"no {' or '.join(one.lower() for one in request.document_types)} in {_WORLDS_IN_VAIN} worlds",
                where="business_facts",
                remedy="Have its chains made: chains_per_world, sales_per_world and the weights of the subtypes.",
            )
        yield found


def facts_of_world(request: Request, number: int) -> list[FactRow]:
    """The wanted facts of one world, in the order of chains."""
    papers = {kind: 1.0 for kind in PAPER_TYPES if kind in request.document_types}
    config = request.facts.model_copy(update={"papers": papers})
    return [fact for fact in fact_rows(number, config) if _is_wanted(fact, request)]


def wanted_facts(request: Request) -> Iterator[FactRow]:
    """All wanted facts in the order of worlds and chains, without end."""
    return chain.from_iterable(facts_of_worlds(request))


def _is_wanted(fact: FactRow, request: Request) -> bool:
    if fact["document_type"] not in request.document_types:
        return False
    style = issuer_style(fact, json.loads(fact["payload"]), request.documents)
    return style.language in request.languages
