"""Which of the facts become documents: so many of each class, or of a subtype, for a world.

Choosing belongs here; it goes by document ids alone, so neither workers nor the order of facts matter. What the facts
are does not (`facts`), nor the target of a whole release (`preparation.release`).
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sap_llm.schema.taxonomy import load_taxonomy


def known_names() -> set[str]:
    """All keys that a composition may have: `CREDIT_NOTE`, `PURCHASE_ORDER.RUSH`."""
    classes = load_taxonomy().classes
    subtypes = {f"{entry.name}.{subtype.name}" for entry in classes for subtype in entry.subtypes}
    return subtypes | {entry.name for entry in classes}


def name_of(row: Mapping[str, Any], composition: Mapping[str, float]) -> str:
    """The key of a fact in a composition: that of its subtype if there is one, else that of its class."""
    subtype = f"{row['document_type']}.{row['document_subtype']}"
    return subtype if subtype in composition else str(row["document_type"])


def composed(facts: pa.Table, composition: Mapping[str, float]) -> pa.Table:
    """The facts that become documents, in the order of their ids.

    Args:
        facts: Rows of `facts.FACTS` of whole worlds.
        composition: Documents a world by class or `CLASS.SUBTYPE`; fewer where there are fewer facts, none of what is
            not named. Empty: all facts.
    """
    facts = facts.sort_by("document_id")  # ids are hashes: the first of a class are a fair sample
    if not composition:
        return facts
    worlds = len(facts.column("world").unique())
    left = {name: round(mean * worlds) for name, mean in composition.items()}
    kept = []
    for row in facts.select(["document_type", "document_subtype"]).to_pylist():
        name = name_of(row, composition)
        kept.append(left.get(name, 0) > 0)
        left[name] = left.get(name, 0) - 1
    return facts.filter(pa.array(kept, pa.bool_()))
