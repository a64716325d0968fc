"""Whether choosing documents for annotation pays: F1 over budgets, chosen actively, at random, by each factor alone.

A pool of simulated companies, a few with many documents and many with few as in a real archive; labels are given in
rounds, and a light learner (`surrogate`) is trained anew after each and scored on companies, vendors and layouts that
the pool does not have. Who is asked is decided by `annotation.selection.choose_active`, the pipeline's own, in every
arm: one factor alone is the same call with the others held constant. Writes results/active_learning.png.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from benchmarks.measure import Measure, higher_is_better, lower_is_better
from benchmarks.surrogate import Example, Learner, Task, example
from sap_llm.annotation.selection import ActivePool, choose_active
from sap_llm.modeling.labels import HEADER_FIELDS
from sap_llm.schema.page import Page

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "benchmarks/results/active_learning.png"
SEEDS = range(5)
BUDGETS = (30, 45, 65, 95, 135, 190, 270, 380)
ARMS = ("random", "active", "uncertainty", "diversity", "business weight")
_T_95 = 2.776  # two-sided, four degrees of freedom
POOL_WORLDS = tuple((9000 + number, max(1, int(20 / (number + 1) ** 0.8))) for number in range(26))
UNSEEN_WORLDS = tuple((9500 + number, 1) for number in range(36))
"""World number and its chains."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Documents that may be labelled, documents to score on, and how long the rounds are."""

    task: Task
    pool: npt.NDArray[np.int64]
    unseen: npt.NDArray[np.int64]
    weights: Array  # business weight of every document
    budgets: tuple[int, ...]
    random_part: float

    def curve(self, arm: str, seed: int) -> list[float]:
        """F1 at each budget; the first documents are the same random ones for every arm of a seed."""
        known = self._choose("random", self.pool, np.zeros(0, np.int64), None, self.budgets[0], seed)
        scores = []
        for budget, following in zip(self.budgets, (*self.budgets[1:], None), strict=True):
            learner = self.task.fit(known, seed=seed)
            scores.append(learner.f1(self.unseen))
            if following is not None:
                rest = np.setdiff1d(self.pool, known)
                known = np.concatenate([known, self._choose(arm, rest, known, learner, following - budget, seed)])
        return scores

    def _choose(
        self,
        arm: str,
        places: npt.NDArray[np.int64],
        known: npt.NDArray[np.int64],
        learner: Learner | None,
        count: int,
        seed: int,
    ) -> npt.NDArray[np.int64]:
        flat = np.ones(len(places))
        has = {name: arm in ("active", name) for name in ARMS}
        is_uncertain = has["uncertainty"] and learner is not None
        vectors = self.task.vectors if has["diversity"] else np.zeros_like(self.task.vectors)
        pool = ActivePool(
            ids=[self.task.examples[place].document_id for place in places],
            uncertainty=learner.uncertainty(places) if learner is not None and is_uncertain else flat,
            weights=self.weights[places] if has["business weight"] else flat,
            vectors=vectors[places],
        )
        random_part = {"random": 1.0, "active": self.random_part}.get(arm, 0.0)
        chosen = choose_active(pool, count, known=vectors[known], random_part=random_part, seed=seed)
        return places[chosen]


def run() -> dict[str, Measure]:
    """Curves of all arms over five seeds, their differences to random, and the picture."""
    simulation = simulated()
    curves = {arm: np.array([simulation.curve(arm, seed) for seed in SEEDS]) for arm in ARMS}
    budgets = np.array(simulation.budgets, dtype=np.float64)
    for arm, values in curves.items():
        sys.stdout.write(_told(arm, values, curves["random"], budgets))
    draw(PICTURE, budgets, curves)
    return _measures(budgets, curves)


def simulated() -> Simulation:
    """The pool and the unseen companies."""
    pool, unseen = (list(_documents(worlds)) for worlds in (POOL_WORLDS, UNSEEN_WORLDS))
    config = yaml.safe_load((ROOT / "configs/tiny/annotation_tasks.yaml").read_text(encoding="utf-8"))
    weights = config["active"]["business_weights"]
    task = Task([*pool, *unseen], fields=len(HEADER_FIELDS), seed=config["seed"])
    sys.stdout.write(f"{len(pool)} documents to choose from, {len(unseen)} unseen, {len(task.classes)} classes\n")
    return Simulation(
        task=task,
        pool=np.arange(len(pool)),
        unseen=np.arange(len(pool), len(pool) + len(unseen)),
        weights=np.array([weights.get(one.document_type, 1.0) for one in task.examples]),
        budgets=BUDGETS,
        random_part=config["active"]["random_part"],
    )


def _documents(worlds: Sequence[tuple[int, int]]) -> Iterator[Example]:
    from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
    from sap_llm.synthetic.stage import SyntheticDocsConfig, make_document

    look = SyntheticDocsConfig(
        workers=1, test_layout_share=0, untitled_share=0.2, foreign_language_share=0.08, tier="volume"
    )
    for number, chains in worlds:
        facts = BusinessFactsConfig(chains_per_world=chains, sales_per_world=max(1, chains * 3 // 4), lines_max=26)
        for fact in fact_rows(number, facts):
            made = make_document(fact, look)
            if not made.get("quarantine"):
                pages = [Page.from_row(page) for page in made["pages"]]
                yield example(made["documents"][0], pages, made["annotations"][0], HEADER_FIELDS)


def area(budgets: Array, values: Array) -> Array:
    """Mean height of curves [..., budgets] over the budgets, by trapezoids."""
    return np.asarray(np.trapezoid(values, budgets, axis=-1) / (budgets[-1] - budgets[0]))


def budget_for(budgets: Array, curve: Array, target: float) -> float:
    """The budget at which a rising curve first reaches the target, between two budgets by interpolation; else inf."""
    reached = np.flatnonzero(curve >= target)
    if not reached.size:
        return float("inf")
    place = int(reached[0])
    if place == 0:
        return float(budgets[0])
    low, high = curve[place - 1], curve[place]
    return float(budgets[place - 1] + (budgets[place] - budgets[place - 1]) * (target - low) / (high - low))


def _told(arm: str, values: Array, rival: Array, budgets: Array) -> str:
    gap = values - rival
    half = _T_95 * gap.std(axis=0, ddof=1) / np.sqrt(len(gap))
    rows = [
        f"  {int(budget):5d}  F1 {mean:.4f}  to random {low:+.4f} ±{width:.4f}, worst seed {worst:+.4f}\n"
        for budget, mean, low, width, worst in zip(
            budgets, values.mean(axis=0), gap.mean(axis=0), half, gap.min(axis=0), strict=True
        )
    ]
    part = budget_for(budgets, values.mean(axis=0), float(rival.mean(axis=0)[-1])) / budgets[-1]
    head = f"{arm}: area {area(budgets, values).mean():.4f}, random's last F1 with {part:.0%} of the labels\n"
    return head + "".join(rows)


def _measures(budgets: Array, curves: dict[str, Array]) -> dict[str, Measure]:
    rival, runs = curves["random"], len(SEEDS)
    areas = {arm: float(area(budgets, values).mean()) for arm, values in curves.items()}
    active = curves["active"].mean(axis=0)
    gap = curves["active"] - rival
    worst = int(gap[:, 1:].mean(axis=0).argmin()) + 1
    measures = {
        f"active_learning_area_vs_{arm.replace(' ', '_')}": higher_is_better(
            ours=areas["active"], rival=value, rival_name=f"{arm} alone", unit="F1, mean over budgets", runs=runs
        )
        for arm, value in areas.items()
        if arm != "active"
    }
    last = budget_for(budgets, active, float(rival.mean(axis=0)[-1]))
    return measures | {
        "active_learning_worst_budget": higher_is_better(
            ours=float(active[worst]), rival=float(rival.mean(axis=0)[worst]),
            rival_name=f"random, at its best budget against us ({int(budgets[worst])})", unit="F1", runs=runs,
        ),
        "active_learning_worst_seed_and_budget": higher_is_better(
            ours=float(curves["active"].flat[gap.argmin()]), rival=float(rival.flat[gap.argmin()]),
            rival_name="random, in the seed and budget that are worst for us", unit="F1", runs=1,
        ),
        "active_learning_labels": lower_is_better(
            ours=last, rival=float(budgets[-1]), rival_name="random", unit="documents to random's last F1", runs=runs
        ),
    }  # fmt: skip


def draw(path: Path, budgets: Array, curves: dict[str, Array]) -> None:
    """Mean F1 by budget with the range over seeds, one line an arm."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for arm, values in curves.items():
        axes.plot(budgets, values.mean(axis=0), marker="o", markersize=3, label=arm)
        if arm in ("random", "active"):
            axes.fill_between(budgets, values.min(axis=0), values.max(axis=0), alpha=0.15)
    axes.set(xlabel="labelled documents", ylabel="F1 on unseen companies, mean over labels")
    axes.legend()
    figure.savefig(path, dpi=110, metadata={"Software": None})
