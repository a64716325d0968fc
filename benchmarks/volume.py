"""How many documents one CPU second of the volume tier makes, beside other ways to write a PDF from values.

Ours reads facts with 8 to 12 lines and gives the corpus tables of the stage: the file, every word's true box and line,
fields, line items, table cells and layout blocks; the making of layouts is part of it, as in a run of many documents a
vendor. Rivals: the roadmap's Faker + Jinja2 + WeasyPrint (fonts cut down by fontTools as on a machine without
libharfbuzz-subset, by that library, or embedded whole) and skia-python with fonts loaded once, all of them files
without boxes or truth; and our own typeset tier. Besides: layouts that are met once, two processes against one, memory
over many documents, and the way to a gray picture. `python -m benchmarks.volume growth` says how memory grows up
to 100,000 documents, which takes some minutes and is no part of `run`.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, figure_of, higher_is_better, lower_is_better
from benchmarks.rivals import rival_python
from benchmarks.synthetic import RIVAL_PACKAGES, ROOT, rival

RUNS = 3
DOCUMENTS = 4000  # of one world: some thirty a layout
COLD_DOCUMENTS = 250
TYPESET_DOCUMENTS, SKIA_DOCUMENTS, IMAGE_DOCUMENTS = 60, 400, 600
BATCH = 64  # documents, as in the stage
MILESTONES = (10_000, 50_000, 100_000)  # documents of the long run
FEW, MANY = 2_000, 6_000  # documents between which memory must not grow
CHAINS = 6000  # of the world that has many documents a layout
WORLDS, SMALL_CHAINS = 40, 14  # many small worlds: some four thousand documents
DOTS_PER_INCH = 150
EXTRA_PACKAGES = ("skia-python>=138", "numpy", "pypdfium2>=5")
OURS = (
    "volume",
    "cold",
    "typeset",
    "cold-typeset",
    "image",
    f"memory-{FEW}",
    f"memory-{MANY}",
    "workers-1",
    "workers-2",
)
RIVALS = ("rival", "rival-fonttools", "rival-full-fonts", "skia", "rival-image", "rival-image-fonttools")


def run() -> dict[str, Measure]:
    """All sides in turns, each in a process of its own.

    Raises:
        MissingToolError: The rivals cannot be installed.
    """
    python = _rival_python()
    figures: dict[str, list[float]] = {}
    for turn in range(RUNS):
        for mode in (*OURS, *RIVALS):
            if turn and mode.startswith("memory"):  # takes long and varies little
                continue
            interpreter = python if mode in RIVALS else sys.executable
            figures.setdefault(mode, []).append(figure_of([interpreter, "-m", "benchmarks.volume", mode]))
    sys.stdout.writelines(f"{mode}: {sorted(values)}\n" for mode, values in figures.items())
    median = {mode: round(statistics.median(values), 3) for mode, values in figures.items()}
    unit = "documents per CPU second"
    names = {
        "rival-fonttools": "Faker + Jinja2 + WeasyPrint, fontTools subsetting, no boxes",
        "rival": "Faker + Jinja2 + WeasyPrint, system's font subsetting, no boxes",
        "rival-full-fonts": "Faker + Jinja2 + WeasyPrint, full_fonts, no boxes",
        "skia": "skia-python, fonts loaded once, no boxes",
        "typeset": "our typeset tier",
    }
    found = {
        f"volume_vs_{mode.replace('-', '_')}": higher_is_better(
            ours=median["volume"], rival=median[mode], rival_name=name, unit=unit, runs=RUNS
        )
        for mode, name in names.items()
    }
    least = {mode: min(values) for mode, values in figures.items()}
    return found | {
        "volume_cold_layouts": higher_is_better(
            ours=median["cold"], rival=median["cold-typeset"], unit=unit, runs=RUNS,
            rival_name="our typeset tier, each document the first of its layout",
        ),
        "volume_gray_image": higher_is_better(
            ours=median["image"], rival=median["rival-image-fonttools"], unit=unit, runs=RUNS,
            rival_name=f"Faker + Jinja2 + WeasyPrint, fontTools subsetting, + PDFium at {DOTS_PER_INCH} dpi, no boxes",
        ),
        "volume_gray_image_vs_system_subsetting": higher_is_better(
            ours=median["image"], rival=median["rival-image"], unit=unit, runs=RUNS,
            rival_name=f"Faker + Jinja2 + WeasyPrint, system's subsetting, + PDFium at {DOTS_PER_INCH} dpi, no boxes",
        ),
        "volume_two_processes": lower_is_better(
            ours=median["workers-2"], rival=median["workers-1"], rival_name="one process", unit="wall s", runs=RUNS
        ),
        "volume_two_processes_fastest": lower_is_better(
            ours=least["workers-2"], rival=least["workers-1"], rival_name="one process", unit="wall s", runs=RUNS
        ),
        "volume_memory": lower_is_better(
            ours=median[f"memory-{MANY}"], rival=median[f"memory-{FEW}"], runs=1, unit="MiB at the peak",
            rival_name=f"{FEW} documents instead of {MANY}",
        ),
    }  # fmt: skip


def _rival_python() -> str:
    return str(
        rival_python(
            "volume",
            (*RIVAL_PACKAGES, *EXTRA_PACKAGES),
            check="import skia, numpy, pypdfium2, weasyprint",
            hint=" and the system libraries of Pango (apt: libpango-1.0-0)",
        )
    )


def _config(tier: str, *, chains: int = CHAINS) -> tuple[Any, Any]:
    import yaml

    from sap_llm.synthetic.facts import BusinessFactsConfig
    from sap_llm.synthetic.stage import SyntheticDocsConfig

    facts, documents = (
        yaml.safe_load((ROOT / f"configs/tiny/{name}.yaml").read_text())
        for name in ("business_facts", "synthetic_docs")
    )
    return (
        BusinessFactsConfig(**facts | {"chains_per_world": chains}),
        SyntheticDocsConfig(**documents | {"tier": tier, "workers": 1}),
    )


def _facts(config: Any, *, ten_lines: bool) -> Iterator[dict[str, Any]]:
    from itertools import count

    from sap_llm.synthetic.facts import fact_rows

    for number in count():
        for fact in fact_rows(number, config):
            if not ten_lines or 8 <= len(json.loads(fact["payload"])["lines"]) <= 12:
                yield fact


def ours(tier: str, documents: int) -> float:
    """Documents per CPU second of facts with about ten lines."""
    facts, config = _ready(tier, documents)
    return _rate(lambda: _made(facts, config))


def _ready(tier: str, documents: int) -> tuple[list[dict[str, Any]], Any]:
    """Facts with about ten lines, after the fonts were read, as those of skia-python are."""
    from itertools import islice

    from sap_llm.synthetic.stage import make_documents
    from sap_llm.synthetic.volume.fonts import FAMILIES, face

    facts_config, config = _config(tier)
    facts = list(islice(_facts(facts_config, ten_lines=True), documents))
    for family in FAMILIES:
        for is_bold in (False, True):
            face(family, is_bold=is_bold)
    make_documents(facts[:1], config)
    return facts, config


def _made(facts: list[dict[str, Any]], config: Any) -> int:
    from sap_llm.synthetic.stage import make_documents

    batches = (facts[start : start + BATCH] for start in range(0, len(facts), BATCH))
    return sum(make_documents(batch, config)[0]["blobs"].num_rows for batch in batches)


def image() -> float:
    """Documents per CPU second from facts to gray pictures of their first pages, with all truth."""
    import pypdfium2

    from sap_llm.synthetic.stage import make_documents

    facts, config = _ready("volume", IMAGE_DOCUMENTS)

    def batch(start: int) -> int:
        tables, _ = make_documents(facts[start : start + BATCH], config)
        return sum(_picture(content.as_py(), pypdfium2) for content in tables["blobs"].column("content"))

    return _rate(lambda: sum(map(batch, range(0, len(facts), BATCH))))


def _picture(content: Any, pdfium: Any) -> int:
    """Draw the first page of a file as gray pixels, which is what a model is given; 1 if there are any."""
    file = pdfium.PdfDocument(content)
    pixels: int = file[0].render(scale=DOTS_PER_INCH / 72, grayscale=True).to_numpy().size
    file.close()
    return bool(pixels)


def cold(tier: str) -> float:
    """Documents per CPU second where each is the first of its layout."""
    from sap_llm.synthetic.classes import trade_classes

    facts_config, config = _config(tier, chains=4)
    firsts: dict[tuple[str, ...], dict[str, Any]] = {}
    for fact in _facts(facts_config, ten_lines=False):
        if fact["document_type"] in trade_classes():
            firsts.setdefault((fact["world"], fact["issuer"], fact["document_type"]), fact)
        if len(firsts) > COLD_DOCUMENTS:
            break
    warmup, *facts = firsts.values()
    _made([warmup], config)
    return _rate(lambda: _made(facts, config))


def peak_memory(documents: int) -> float:
    """MiB that a process had at most while it made documents of many small worlds, facts included."""
    from sap_llm.synthetic.facts import fact_rows
    from sap_llm.synthetic.stage import make_documents

    facts_config, config = _config("volume", chains=SMALL_CHAINS)
    made = world = 0
    while made < documents:
        facts = list(fact_rows(world, facts_config))[: documents - made]
        make_documents(facts, config)
        made, world = made + len(facts), world + 1
        if any(made - len(facts) < milestone <= made for milestone in MILESTONES):
            sys.stderr.write(f"{made} documents: {_peak():.1f} MiB at the peak\n")
    return _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wall(workers: int) -> float:
    """Seconds for the files of all worlds, from when the last process is ready to when the last one is done."""
    context = get_context("spawn")
    barrier, seconds = context.Barrier(workers), context.SimpleQueue()
    ranges = [range(first, WORLDS, workers) for first in range(workers)]
    processes = [context.Process(target=_make_worlds, args=(worlds, barrier, seconds)) for worlds in ranges]
    for process in processes:
        process.start()
    slowest = max(seconds.get() for _ in processes)
    for process in processes:
        process.join()
    return float(slowest)


def _make_worlds(worlds: range, barrier: Any, seconds: Any) -> None:
    """Facts and files of some worlds, in a process that shares nothing with others but the start."""
    import tempfile

    from sap_llm.synthetic.facts import fact_rows
    from sap_llm.synthetic.stage import typeset_part

    facts_config, config = _config("volume", chains=SMALL_CHAINS)
    with tempfile.TemporaryDirectory() as folder:
        typeset_part((0, [*fact_rows(WORLDS, facts_config)][:8]), config=config, folder=Path(folder))
        barrier.wait()
        started = time.perf_counter()
        for number in worlds:
            typeset_part((number, [*fact_rows(number, facts_config)]), config=config, folder=Path(folder))
        seconds.put(time.perf_counter() - started)


def skia_pdf() -> float:
    """Documents per CPU second of skia-python: as many texts, rules and faces as one of ours."""
    import skia  # type: ignore[import-not-found,unused-ignore]

    fonts = ROOT / ".venv/lib/python3.11/site-packages/matplotlib/mpl-data/fonts/ttf"
    faces = [skia.Typeface.MakeFromFile(str(fonts / name)) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")]
    text, bold, paint = skia.Font(faces[0], 8.5), skia.Font(faces[1], 8.5), skia.Paint()

    def one(number: int) -> bytes:
        stream = skia.DynamicMemoryWStream()
        with skia.PDF.MakeDocument(stream) as document, document.page(595, 842) as canvas:
            for row in range(30):  # parties, footer, sentences
                canvas.drawString("Musterstrasse 12 Werkstatt GmbH", 40 + row % 2 * 270, 40 + 11 * row, text, paint)
            for row in range(15):
                canvas.drawString("Bestellnummer:", 40, 380 + 11 * row, bold, paint)
                canvas.drawString(f"{number * 7919 + row * 13:08d}", 150, 380 + 11 * row, text, paint)
            for row in range(11):
                y = 560 + 13 * row
                cells = (f"{row}", f"{number + row:07d}", "Schraube M8 verzinkt", f"{number % 99}", "Stk",
                         f"{number * 3.17 + row:.2f}", f"{number * 7.5 + row:.2f}")  # fmt: skip
                for column, cell in enumerate(cells):
                    canvas.drawString(cell, 40 + column * 72, y, text, paint)
                canvas.drawLine(40, y + 2, 550, y + 2, paint)
            for row in range(4):
                canvas.drawString("Summe", 350, 720 + 12 * row, text, paint)
                canvas.drawString(f"{number * 11.3 + row:.2f} EUR", 450, 720 + 12 * row, bold, paint)
        return bytes(stream.detachAsData())

    one(0)
    return _rate(lambda: sum(bool(one(number)) for number in range(SKIA_DOCUMENTS)))


def full_fonts() -> float:
    """Documents per CPU second of the roadmap's way with fonts embedded whole."""
    _always(full_fonts=True)
    return rival(uses_fonttools=False)


def rival_image(*, uses_fonttools: bool) -> float:
    """Documents per CPU second of the roadmap's way to a gray picture, drawn by PDFium as ours are."""
    import pypdfium2

    _always(after=lambda pdf: pdf if _picture(pdf, pypdfium2) else b"")
    return rival(uses_fonttools=uses_fonttools)


def _always(after: Callable[[bytes], bytes] = bytes, **options: Any) -> None:
    """Let WeasyPrint write every PDF with these options, and hand it on."""
    from weasyprint import HTML  # type: ignore[import-not-found,unused-ignore]

    write = HTML.write_pdf
    HTML.write_pdf = lambda self: after(write(self, **options))


def _rate(work: Callable[[], int]) -> float:
    started = time.process_time()
    count = work()
    return round(count / (time.process_time() - started), 3)


def _figure(mode: str) -> float:
    name, _, number = mode.partition("-")
    modes: dict[str, Callable[[], float]] = {
        "volume": lambda: ours("volume", DOCUMENTS),
        "typeset": lambda: ours("typeset", TYPESET_DOCUMENTS),
        "cold": lambda: cold("volume"),
        "cold-typeset": lambda: cold("typeset"),
        "image": image,
        "memory": lambda: peak_memory(int(number)),
        "workers": lambda: wall(int(number)),
        "skia": skia_pdf,
        "rival": lambda: rival(uses_fonttools=False),
        "rival-fonttools": lambda: rival(uses_fonttools=True),
        "rival-full-fonts": full_fonts,
        "rival-image": lambda: rival_image(uses_fonttools=False),
        "rival-image-fonttools": lambda: rival_image(uses_fonttools=True),
        "growth": lambda: peak_memory(MILESTONES[-1]),
    }
    return modes.get(mode, modes[name])()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_figure(sys.argv[1])) + "\n")
