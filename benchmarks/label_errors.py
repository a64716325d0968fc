"""How many planted errors of class labels stand among the first so many suspects, beside plain doubt and chance.

Synthetic documents of the volume tier get wrong labels in two ways: as people err (a quarter of the documents of some
classes take the label of a class that looks alike), and uniformly (one document in twelve takes any other label). Ours
is confident learning with pruning by noise rate; rivals rank by the lowest probability of the label, from the very same
out-of-fold probabilities, and at random. With as many suspects as planted errors, precision and recall are one number.
"""

import statistics
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from benchmarks.measure import Measure, higher_is_better
from benchmarks.synthetic import ROOT

Array = npt.NDArray[Any]
SEEDS = 5
WORLDS = 8
LEAST = 20  # documents of a class
MISTAKEN = {
    "SUPPLIER_INVOICE": "CUSTOMER_INVOICE",
    "PURCHASE_ORDER": "SALES_ORDER",
    "DELIVERY_NOTE": "PACKING_LIST",
    "QUOTATION": "INQUIRY",
    "GOODS_RECEIPT": "GOODS_ISSUE",
    "STATEMENT_OF_ACCOUNT": "DUNNING_LETTER",
    "FREIGHT_ORDER": "WAYBILL",
    "PAYMENT_ORDER": "REMITTANCE_ADVICE",
}
MISTAKEN_SHARE, UNIFORM_SHARE = 0.25, 1 / 12


def run() -> dict[str, Measure]:
    """Share of planted errors among as many suspects, mean over seeds, for both ways to err."""
    texts, kinds = documents()
    names, truth = np.unique(kinds, return_inverse=True)
    measures = {}
    for way, plant in {"as_people_err": _as_people_err, "uniform": _uniform}.items():
        found: dict[str, list[float]] = {}
        for seed in range(SEEDS):
            random = np.random.default_rng(seed)
            labels = plant(truth, list(names), random)
            for name, share in shares(texts, truth, labels, seed, random).items():
                found.setdefault(name, []).append(share)
        sys.stdout.writelines(f"{way} {name}: {[round(one, 3) for one in values]}\n" for name, values in found.items())
        mean = {name: round(statistics.mean(values), 4) for name, values in found.items()}
        for rival, title in (("doubt", "lowest probability of the label"), ("random", "random order")):
            measures[f"label_errors_{way}_vs_{rival}"] = higher_is_better(
                ours=mean["ours"], rival=mean[rival], rival_name=title, unit="of the planted errors", runs=SEEDS
            )
    return measures


def shares(texts: list[str], truth: Array, labels: Array, seed: int, random: np.random.Generator) -> dict[str, float]:
    """Planted errors among as many first documents of each ranking; of our flags, precision and recall."""
    from sap_llm.preparation.label_errors import confident_joint, out_of_fold, ranked, suspect_labels

    is_wrong = labels != truth
    planted = int(is_wrong.sum())
    probabilities = out_of_fold(texts, labels, folds=5, seed=seed)
    own = probabilities[np.arange(len(labels)), labels]
    flags = suspect_labels(labels, probabilities, confident_joint(labels, probabilities))
    orders = {
        "ours": ranked(labels, probabilities),
        "doubt": np.argsort(own, kind="stable"),
        "random": random.permutation(len(labels)),
    }
    found = {name: float(is_wrong[order[:planted]].mean()) for name, order in orders.items()}
    return found | {
        "precision of our flags": float(is_wrong[flags].mean()),
        "recall of our flags": float(flags[is_wrong].mean()),
    }


def documents() -> tuple[list[str], list[str]]:
    """Words and class of synthetic documents, of classes that have enough of them."""
    from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
    from sap_llm.synthetic.stage import SyntheticDocsConfig, typeset_fact

    facts, looks = (
        yaml.safe_load((ROOT / f"configs/gpu/{name}.yaml").read_text()) for name in ("business_facts", "synthetic_docs")
    )
    facts_config = BusinessFactsConfig(**facts | {"chains_per_world": 4})
    looks_config = SyntheticDocsConfig(**looks | {"tier": "volume", "workers": 1})
    made: list[tuple[str, str]] = []
    for world in range(WORLDS):
        for fact in fact_rows(world, facts_config):
            rows = typeset_fact(fact, looks_config)
            text = " ".join(word for page in rows.get("pages", ()) for word in page["words"])
            made += [(text, row["document_type"]) for row in rows.get("documents", ())]
    kinds = [kind for _, kind in made]
    kept = [(text, kind) for text, kind in made if kinds.count(kind) >= LEAST]
    return [text for text, _ in kept], [kind for _, kind in kept]


def _as_people_err(truth: Array, names: list[str], random: np.random.Generator) -> Array:
    labels = truth.copy()
    for kind, other in MISTAKEN.items():
        if kind in names and other in names:
            rows = np.flatnonzero(truth == names.index(kind))
            labels[random.choice(rows, int(MISTAKEN_SHARE * len(rows)), replace=False)] = names.index(other)
    return labels


def _uniform(truth: Array, names: list[str], random: np.random.Generator) -> Array:
    labels = truth.copy()
    rows = random.choice(len(truth), int(UNIFORM_SHARE * len(truth)), replace=False)
    labels[rows] = (truth[rows] + random.integers(1, len(names), len(rows))) % len(names)
    return labels
