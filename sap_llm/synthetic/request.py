"""Documents on demand: which facts of the closed worlds a request means, and work on them in processes, in order.

Choosing facts by class and language and running the workers belongs here; what becomes of the documents does not
(`folder`, `contact_sheet`, `diversity`), nor the stage that fills the corpus (`stage`). What is made does not depend on
the number of workers.
"""

import json
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, count
from multiprocessing import get_context
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from sap_llm.schema.errors import ConfigurationError
from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
from sap_llm.synthetic.pools import LANGUAGE_OF
from sap_llm.synthetic.stage import SyntheticDocsConfig, issuer_style
from sap_llm.synthetic.workers import become_worker

T = TypeVar("T")
FactRow = Mapping[str, Any]

DOCUMENT_TYPES = ("PURCHASE_ORDER", "SALES_ORDER", "GOODS_RECEIPT", "SUPPLIER_INVOICE")
LANGUAGES = tuple(sorted(set(LANGUAGE_OF.values())))
_AHEAD = 8  # documents a worker may be ahead of the one that is waited for


class Request(BaseModel):
    """Which documents are wanted; equal requests mean the same documents in the same order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: BusinessFactsConfig
    documents: SyntheticDocsConfig
    document_types: tuple[str, ...] = DOCUMENT_TYPES
    languages: tuple[str, ...] = LANGUAGES


def known_types(names: Sequence[str]) -> tuple[str, ...]:
    """Document classes by their names in any case; all that the generator knows when none is named.

    Raises:
        ConfigurationError: A name is none of them.
    """
    return _known([name.upper() for name in names], DOCUMENT_TYPES, "document type")


def known_languages(names: Sequence[str]) -> tuple[str, ...]:
    """Languages by their ISO 639-1 codes in any case; all that the generator writes when none is named.

    Raises:
        ConfigurationError: A code is none of them.
    """
    return _known([name.lower() for name in names], LANGUAGES, "language")


def _known(names: Sequence[str], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"the generator knows no {what} {name.lower()!r}",
                remedy=f"Choose from {', '.join(one.lower() for one in known)}.",
            )
    return tuple(one for one in known if one in names) or known


def facts_of_worlds(request: Request) -> Iterator[list[FactRow]]:
    """The wanted facts of world 0, 1, 2 and so on without end; a world may have none."""
    for number in count():
        yield [fact for fact in fact_rows(number, request.facts) if _is_wanted(fact, request)]


def wanted_facts(request: Request) -> Iterator[FactRow]:
    """All wanted facts in the order of worlds and chains, without end."""
    return chain.from_iterable(facts_of_worlds(request))


def _is_wanted(fact: FactRow, request: Request) -> bool:
    if fact["document_type"] not in request.document_types:
        return False
    style = issuer_style(fact, json.loads(fact["payload"]), request.documents)
    return style.language in request.languages


def in_order(work: Callable[[FactRow], T], facts: Iterable[FactRow], *, workers: int) -> Generator[T]:
    """`work` on every fact, in the order of the facts; closing the iterator gives up what was begun ahead.

    Args:
        work: A function that a process can be sent: of a module, or `functools.partial` of one.
        facts: May be endless.
        workers: Processes; with one, the work is done here.
    """
    if workers == 1:
        yield from map(work, facts)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_become_worker) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for fact in facts:
                waiting.append(pool.submit(work, fact))
                if len(waiting) >= workers * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _become_worker() -> None:
    become_worker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, after what is in work
