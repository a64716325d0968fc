"""The generator as an endless iterable for training: documents in a fixed order, disjoint by worker, resumable.

Positions and their saving belong here, one document or some worlds at a time; which documents a request means does not
(`request`), nor making them (`stage`), nor cutting them into batches (`training.source`). A worker makes the worlds
whose number leaves its own as remainder, so what one worker gives does not depend on the speed of the others.
"""

from collections.abc import Iterable, Iterator
from typing import TypedDict

import pyarrow as pa

from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.tables import conform
from sap_llm.synthetic.composition import composed
from sap_llm.synthetic.facts import FACTS, BusinessFactsConfig, fact_rows
from sap_llm.synthetic.request import Request, facts_of_world
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.stage import SyntheticDocsConfig, make_document, make_documents


def documents_of_worlds(
    worlds: Iterable[int], facts: BusinessFactsConfig, documents: SyntheticDocsConfig
) -> dict[str, pa.Table]:
    """Corpus tables of whole worlds, as the stages `business_facts` and `synthetic_docs` would make them together."""
    rows = composed(
        conform([row for number in worlds for row in fact_rows(number, facts)], FACTS), documents.documents_per_world
    )
    return make_documents(rows.to_pylist(), documents)[0]


class StreamState(TypedDict):
    """Where a stream stands: the next document is that of `position` among the wanted facts of `world`."""

    worker: int
    workers: int
    world: int
    position: int


class DocumentStream:
    """Corpus rows by table name, one document after the other without end; documents that fail are passed over.

    Iterating goes on where the stream stands. The state that is read after a document continues with the next one.

    Args:
        request: Which documents are wanted.
        worker: Number of this worker, from 0.
        workers: How many share the request.

    Raises:
        ConfigurationError: There is no such worker.
    """

    def __init__(self, request: Request, *, worker: int = 0, workers: int = 1) -> None:
        if not 0 <= worker < workers:
            raise ConfigurationError(
                f"worker {worker} of {workers}", where="DocumentStream", remedy="Count workers from 0."
            )
        self.request = request
        self._state = StreamState(worker=worker, workers=workers, world=worker, position=0)

    def __iter__(self) -> Iterator[dict[str, list[Row]]]:
        """Documents from where the stream stands."""
        state = self._state
        while True:
            facts = facts_of_world(self.request, state["world"])
            while state["position"] < len(facts):
                fact = facts[state["position"]]
                state["position"] += 1
                rows = make_document(fact, self.request.documents)
                if not rows.get("quarantine"):
                    yield rows
            state["world"], state["position"] = state["world"] + state["workers"], 0

    def state_dict(self) -> StreamState:
        """Where the stream stands."""
        return StreamState(**self._state)

    def load_state_dict(self, state: StreamState) -> None:
        """Go to where a stream of the same request and worker stood; iterate anew afterwards.

        Raises:
            ConfigurationError: The state is that of another worker, or of another number of them.
        """
        own = self._state
        if (state["worker"], state["workers"]) != (own["worker"], own["workers"]):
            raise ConfigurationError(
                f"the state is that of worker {state['worker']} of {state['workers']}, "
                f"this is {own['worker']} of {own['workers']}",
                where="DocumentStream",
                remedy="Continue with as many workers as before.",
            )
        own.update(state)
