"""Whether choosing documents for annotation pays: F1 over budgets, chosen actively, at random, by each factor alone.

A pool of simulated companies, a few with many documents and many with few as in a real archive, and, where the folder
of real documents lies beside the project or SAP_LLM_SHARED names it, a pool of real receipts. Labels are given in
rounds; a light learner (`surrogate`) is trained anew after each and scored on companies and layouts, or groups of
near-duplicate receipts, that the pool does not have. Who is asked is decided by the pipeline's own `choose_active`
in every arm: one factor alone is the same call with the others held constant. Writes results/active_learning.png and
results/active_learning_real.png.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from joblib import Parallel, delayed

from benchmarks.measure import Measure, higher_is_better, lower_is_better
from benchmarks.surrogate import Example, Learner, Task, example
from sap_llm.annotation.selection import ActivePool, chance, choose_active
from sap_llm.annotation.tasks import AnnotationTasksConfig
from sap_llm.annotation.vectors import DIMENSIONS
from sap_llm.modeling.labels import CORE_HEADER_FIELDS
from sap_llm.schema.page import Page

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
REAL = Path(os.environ.get("SAP_LLM_SHARED", ROOT.parent / "shared/data"))
SEEDS = range(5)
BUDGETS = (30, 60, 110, 200, 360)
REAL_BUDGETS = (10, 20, 40, 80, 160)
REAL_POOL = 0.6  # of the groups; the others are scored on
ARMS = ("random", "active", "uncertainty", "diversity", "business weight")
_PROCESSES = 2
_T_95 = 2.776  # two-sided, four degrees of freedom
POOL_WORLDS = tuple((9000 + number, max(1, int(20 / (number + 1) ** 0.8))) for number in range(26))
UNSEEN_WORLDS = tuple((9500 + number, 1) for number in range(60))
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
    config: AnnotationTasksConfig

    def curve(self, arm: str, seed: int) -> list[float]:
        """F1 at each budget. The first documents are chosen before there is a learner, so without uncertainty."""
        known = self._choose(arm, self.pool, np.zeros(0, np.int64), None, self.budgets[0], seed)
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
        has = {name: arm in ("active", name) for name in ARMS}
        flat, active = np.ones(len(places)), self.config.active
        pool = ActivePool(
            ids=[self.task.examples[place].document_id for place in places],
            uncertainty=learner.uncertainty(places) if learner is not None and has["uncertainty"] else flat,
            weights=self.weights[places] if has["business weight"] else flat,
            vectors=self.task.vectors[places],
        )
        chosen = choose_active(
            pool,
            count,
            known=self.task.vectors[known],
            uncertainty_power=active.uncertainty_power,
            diversity_power=active.diversity_power if has["diversity"] else 0.0,
            seed=seed,
        )
        return places[chosen]


def run() -> dict[str, Measure]:
    """Curves of all arms over five seeds in both simulations, their differences to random, and the pictures."""
    values = yaml.safe_load((ROOT / "configs/tiny/annotation_tasks.yaml").read_text(encoding="utf-8"))
    config = AnnotationTasksConfig(**values)
    measures = _measured("active_learning", _simulated(config))
    if (REAL / "sroie").is_dir():
        measures |= _measured("active_learning_real", _receipts(config))
    else:
        sys.stdout.write(f"no real receipts at {REAL}\n")
    sys.stdout.write(f"drawing 2,000 of 100,000 documents: {_drawing_seconds(config):.1f} CPU s\n")
    return measures


def _drawing_seconds(config: AnnotationTasksConfig) -> float:
    rng, count = np.random.default_rng(config.seed), 100_000
    vectors = rng.standard_normal((count, DIMENSIONS), dtype=np.float32)
    pool = ActivePool(
        ids=[f"doc-{number}" for number in range(count)],
        uncertainty=rng.random(count),
        weights=np.ones(count),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )
    active, started = config.active, time.process_time()
    choose_active(pool, 2000, diversity_power=active.diversity_power, seed=config.seed, block=active.block_documents)
    return time.process_time() - started


def _measured(name: str, simulation: Simulation) -> dict[str, Measure]:
    sys.stdout.write(
        f"{name}: {len(simulation.pool)} documents to choose from, {len(simulation.unseen)} unseen, "
        f"{len(simulation.task.classes)} classes\n"
    )
    wanted = [(arm, seed) for arm in ARMS for seed in SEEDS]
    made = Parallel(n_jobs=_PROCESSES)(delayed(simulation.curve)(arm, seed) for arm, seed in wanted)
    curves = {
        arm: np.array([curve for curve, (name, _) in zip(made, wanted, strict=True) if name == arm]) for arm in ARMS
    }
    budgets = np.array(simulation.budgets, dtype=np.float64)
    for arm, values in curves.items():
        sys.stdout.write(_told(arm, values, curves["random"], budgets))
    draw(RESULTS / f"{name}.png", budgets, curves)
    return _measures(name, budgets, curves)


def _simulated(config: AnnotationTasksConfig) -> Simulation:
    """Companies that the pool has, and companies that it does not have."""
    pool, unseen = (list(_documents(worlds)) for worlds in (POOL_WORLDS, UNSEEN_WORLDS))
    return _simulation(pool, unseen, budgets=BUDGETS, config=config)


def _receipts(config: AnnotationTasksConfig) -> Simulation:
    """SROIE: real receipts of one class with three fields, split by groups of near-duplicates."""
    from sap_llm.schema.tables import DOCUMENTS
    from sap_llm.sources.public import PublicDocsConfig, build_public_docs
    from sap_llm.storage.build import StageContext
    from sap_llm.storage.store import DatasetStore

    with tempfile.TemporaryDirectory(prefix="sap_llm_bench_") as folder:
        values = yaml.safe_load((ROOT / "configs/tiny/public_docs.yaml").read_text(encoding="utf-8"))
        built = build_public_docs(
            StageContext(store=DatasetStore(Path(folder))),
            config=PublicDocsConfig(**values),
            corpus="sroie",
            folder=REAL / "sroie",
        ).dataset
        documents = built.table("documents", columns=DOCUMENTS.names).sort_by("document_id").to_pylist()
        pages: dict[str, list[Page]] = {}
        for row in built.table("pages").sort_by("page_number").to_pylist():
            pages.setdefault(row["document_id"], []).append(Page.from_row(row))
        truths: dict[str, dict[str, Any]] = {row["document_id"]: row for row in built.table("annotations").to_pylist()}
    fields = ("seller_name", "document_date", "total_amount")
    parts: dict[bool, list[Example]] = {True: [], False: []}
    for row in documents:
        is_pool = chance(row["split_group"], seed=config.seed, purpose="pool") < REAL_POOL
        parts[is_pool].append(example(row, pages[row["document_id"]], truths[row["document_id"]], fields))
    return _simulation(parts[True], parts[False], budgets=REAL_BUDGETS, config=config, fields=len(fields))


def _simulation(
    pool: Sequence[Example],
    unseen: Sequence[Example],
    *,
    budgets: tuple[int, ...],
    config: AnnotationTasksConfig,
    fields: int = len(CORE_HEADER_FIELDS),
) -> Simulation:
    task = Task([*pool, *unseen], fields=fields, seed=config.seed)
    weights = config.active.business_weights
    return Simulation(
        task=task,
        pool=np.arange(len(pool)),
        unseen=np.arange(len(pool), len(pool) + len(unseen)),
        weights=np.array([weights.get(one.document_type, 1.0) for one in task.examples]),
        budgets=budgets,
        config=config,
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
                yield example(made["documents"][0], pages, made["annotations"][0], CORE_HEADER_FIELDS)


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


def _measures(name: str, budgets: Array, curves: dict[str, Array]) -> dict[str, Measure]:
    rival, runs = curves["random"], len(SEEDS)
    areas = {arm: float(area(budgets, values).mean()) for arm, values in curves.items()}
    active = curves["active"].mean(axis=0)
    gap = curves["active"] - rival
    worst = int(gap.mean(axis=0).argmin())
    measures = {
        f"{name}_area_vs_{arm.replace(' ', '_')}": higher_is_better(
            ours=areas["active"], rival=value, rival_name=f"{arm} alone", unit="F1, mean over budgets", runs=runs
        )
        for arm, value in areas.items()
        if arm != "active"
    }
    last = budget_for(budgets, active, float(rival.mean(axis=0)[-1]))
    return measures | {
        f"{name}_worst_budget": higher_is_better(
            ours=float(active[worst]), rival=float(rival.mean(axis=0)[worst]),
            rival_name=f"random, at its best budget against us ({int(budgets[worst])})", unit="F1", runs=runs,
        ),
        f"{name}_worst_seed_and_budget": higher_is_better(
            ours=float(curves["active"].flat[gap.argmin()]), rival=float(rival.flat[gap.argmin()]),
            rival_name="random, in the seed and budget that are worst for us", unit="F1", runs=1,
        ),
        f"{name}_labels": lower_is_better(
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
