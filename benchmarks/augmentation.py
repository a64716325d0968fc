"""CPU time of damaging a page, beside the roadmap's albumentations pipeline on the same pages.

Ours does the same damages with the same chances (preset `roadmap`, severity 5) in gray and carries the quads of all
words; the rivals carry no boxes, the roadmap's works in RGB as it is written there, another one in gray. Their argument
names are those of 2.0.8, else noise, compression and downscaling would have other strengths than the roadmap's.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import Measure, lower_is_better
from sap_llm.augmentation.geometry import Picture
from sap_llm.schema.page import Quads

ROOT = Path(__file__).parent.parent
RUNS = 5
PICTURES = 240  # a run: every damage comes often enough for its chance
PAGES = 8
SIZE = (1240, 1754)  # A4 at 150 dpi
MODES = ("ours", "roadmap", "gray", "office_scan")

Work = Callable[[int], object]


def run() -> dict[str, Measure]:
    """Milliseconds of CPU a picture on one thread, all sides in turns, each in a process of its own."""
    found: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for _ in range(RUNS):
        for mode in MODES:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.augmentation", mode],
                cwd=ROOT, capture_output=True, text=True, check=True,
            )  # fmt: skip
            found[mode].append(json.loads(done.stdout.splitlines()[-1]))
    for mode, results in found.items():
        times = sorted(result["milliseconds"] for result in results)
        peak = max(result["peak_mebibytes"] for result in results)
        sys.stdout.write(
            f"{mode}: min {times[0]:.2f} ms, median {statistics.median(times):.2f} ms; "
            f"{results[0]['quads']:.0f} quads carried a picture; peak memory {peak:.0f} MiB\n"
        )
    median = {mode: statistics.median(one["milliseconds"] for one in found[mode]) for mode in MODES}
    least = {mode: min(one["milliseconds"] for one in found[mode]) for mode in MODES}
    peaks = {mode: max(one["peak_mebibytes"] for one in found[mode]) for mode in MODES}
    names = {"roadmap": "roadmap's albumentations, RGB, no boxes", "gray": "the same in gray, no boxes"}
    return {
        "augmentation_all_boxes_carried": _measure(median, "roadmap", names["roadmap"], "median"),
        "augmentation_all_boxes_carried_min": _measure(least, "roadmap", names["roadmap"], "min"),
        "augmentation_against_gray": _measure(median, "gray", names["gray"], "median"),
        "augmentation_office_scan": lower_is_better(
            ours=round(median["office_scan"], 3), rival=round(median["roadmap"], 3), rival_name=names["roadmap"],
            unit="ms CPU a picture, median; ours with paper, stamps, pen and dust", runs=RUNS,
        ),
        "augmentation_peak_memory": lower_is_better(
            ours=round(peaks["ours"], 1), rival=round(peaks["roadmap"], 1), rival_name=names["roadmap"], unit="MiB",
            runs=RUNS,
        ),
    }  # fmt: skip


def _measure(figures: dict[str, float], rival: str, name: str, what: str) -> Measure:
    return lower_is_better(
        ours=round(figures["ours"], 3), rival=round(figures[rival], 3), rival_name=name,
        unit=f"ms CPU a picture, {what}", runs=RUNS,
    )  # fmt: skip


def measure(mode: str) -> dict[str, float]:
    """One side: milliseconds of CPU a picture after a warm-up, and the process's peak memory."""
    import cv2

    from sap_llm.augmentation.picture import to_gray

    cv2.setNumThreads(1)
    pictures, quads = pages()
    is_ours = mode in {"ours", "office_scan"}
    if is_ours:
        work = _ours(pictures, quads, ("roadmap", 5) if mode == "ours" else (mode, 3))
    else:
        work = _rival([to_gray(picture) for picture in pictures] if mode == "gray" else pictures)
    for number in range(2 * PAGES):
        work(number)
    started = time.process_time()
    for number in range(PICTURES):
        work(number)
    seconds = time.process_time() - started
    return {
        "milliseconds": 1000 * seconds / PICTURES,
        "quads": float(np.mean([len(one) for one in quads])) if is_ours else 0.0,
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def pages() -> tuple[list[Picture], list[Quads]]:
    """First pages of generated documents in RGB at 150 dpi, with the quads of their words."""
    import cv2
    import yaml

    from sap_llm.augmentation.geometry import boxes_to_quads
    from sap_llm.reading.pdf import raster_pages
    from sap_llm.schema.page import Page
    from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
    from sap_llm.synthetic.stage import SyntheticDocsConfig, typeset_fact

    values = [
        yaml.safe_load((ROOT / f"configs/tiny/{name}.yaml").read_text())
        for name in ("business_facts", "synthetic_docs")
    ]
    facts_config, config = BusinessFactsConfig(**values[0]), SyntheticDocsConfig(**values[1])
    pictures: list[Picture] = []
    quads: list[Quads] = []
    for number in range(2 * PAGES):
        rows = typeset_fact(next(iter(fact_rows(number, facts_config))), config)
        if "pages" not in rows or len(pictures) == PAGES:
            continue
        page = Page.from_row(rows["pages"][0])
        picture = next(raster_pages(rows["blobs"][0]["content"], name="page", scale=SIZE[0] / page.width))
        scale = np.array([SIZE[0] / page.width, SIZE[1] / page.height], dtype=np.float32)
        pictures.append(np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8))
        quads.append(boxes_to_quads(page.boxes) * scale)
    return pictures, quads


def _ours(pictures: list[Picture], quads: list[Quads], preset: tuple[str, int]) -> Work:
    """From the same RGB pictures as the rival's; making them gray is a part of the work."""
    from sap_llm.augmentation.config import load_preset
    from sap_llm.augmentation.geometry import quads_to_boxes
    from sap_llm.augmentation.picture import damage_picture, seeded

    config = load_preset(*preset)

    def work(number: int) -> object:
        words = quads[number % PAGES]
        done = damage_picture(pictures[number % PAGES], words, config, seeded(number), scale=SIZE[0] / 595.28)
        return quads_to_boxes(done.warp.quads(words))

    return work


def _rival(pictures: list[Picture]) -> Work:
    import warnings

    import albumentations

    from sap_llm.augmentation.library import build_transform, roadmap_steps

    is_gray = pictures[0].ndim == 2
    steps = [step for step in roadmap_steps() if not (is_gray and step["name"] == "ToGray")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather be called Affine
        compose = albumentations.Compose([build_transform(**step) for step in steps], seed=1)
    shaped = [picture[..., None] if is_gray else picture for picture in pictures]
    return lambda number: compose(image=shaped[number % PAGES])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1])) + "\n")
