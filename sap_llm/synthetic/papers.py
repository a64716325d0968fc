"""Papers of a chain: the facts of every document class that is no plain trade document.

Which papers a chain has, and bringing them into the form of facts, belongs here; what each says does not
(`papers_money`, `papers_goods`, `papers_work`). Each class of each chain has a random stream of its own, so that papers
change nothing else, and one class nothing of another.
"""

import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sap_llm.synthetic import papers_goods, papers_money, papers_work
from sap_llm.synthetic.papers_chain import Ground, Paper
from sap_llm.synthetic.records import Fact
from sap_llm.synthetic.worlds import World

_NAMES_OF_GOODS = ("description", "product", "part", "equipment_name")
_NAMESPACE = uuid.UUID("0e7f9a52-5d0c-5b8e-8d5b-6f2f3b9d4c11")
MAKERS: Mapping[str, Callable[[Ground], Paper | None]] = papers_money.MAKERS | papers_goods.MAKERS | papers_work.MAKERS
"""Maker of each class; it gives nothing where the chain has no ground for such a paper."""


def papers_of(
    world: World, documents: Sequence[Fact], *, others: Sequence[Fact], seed: int, chances: Mapping[str, float]
) -> Iterator[Fact]:
    """The papers of one chain.

    Args:
        world: The chain's world.
        documents: The chain's documents in order of time.
        others: All documents of the world, for accounts run over several chains.
        seed: That of the facts.
        chances: By class, the chance that a chain has such a paper.
    """
    for kind, chance in chances.items():
        rng = random.Random(f"papers/{seed}/{documents[0].chain}/{kind}")
        if rng.random() >= chance:
            continue
        ground = Ground(rng=rng, seed=seed, kind=kind, world=world, documents=documents, others=others)
        paper = MAKERS[kind](ground)
        if paper is not None:
            yield _fact(ground, paper)


def _fact(ground: Ground, paper: Paper) -> Fact:
    base = ground.order
    issuer = ({"seller": ground.seller, "buyer": ground.buyer} | dict(paper.parties))[paper.issuer]
    language = issuer["language"]
    kept = ("order_number", "order_date", "customer_number", "supplier_number", "contract", "terms", "seller", "buyer")
    payload = {name: base.payload[name] for name in kept} | {
        "document_number": paper.number,
        "document_date": paper.day.isoformat(),
        "delivery_date": ground.delivered.isoformat(),
        "due_date": paper.values.get("due_date", paper.day.isoformat()),
        "total_amount": str(paper.total),
        "lines": [_told(ground.world, row, language) for row in paper.lines],
        "tables": {name: [_told(ground.world, row, language) for row in rows] for name, rows in paper.tables.items()},
        "issuer_role": paper.issuer,
        "recipient_role": paper.recipient,
        "headings": dict(paper.headings),
        "variant": paper.variant,
        **paper.parties,
    }
    payload["values"] = _told(ground.world, {name: value for name, value in paper.values.items() if value}, language)
    return Fact(
        document_id=f"doc-{uuid.uuid5(_NAMESPACE, f'{ground.seed}/{base.chain}/{ground.kind}')}",
        chain=base.chain,
        world=base.world,
        vendor=f"{base.world}-{payload['seller']['key']}",
        issuer=issuer["key"],
        document_type=ground.kind,
        document_subtype=None,
        language=language,
        currency=ground.currency,
        document_date=paper.day,
        payload=payload,
    )


def _told(world: World, row: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The row with its goods in the language of who writes."""
    return {
        name: thing.description(language) if name in _NAMES_OF_GOODS and (thing := world.things.get(value)) else value
        for name, value in row.items()
    }
