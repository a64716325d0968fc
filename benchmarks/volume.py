"""How many documents one CPU second of the volume tier makes, beside other ways to write a PDF from values.

Ours draws facts with 8 to 12 lines and gives the file, every word's true box and all annotation rows; the making of
layouts is part of it, as in a run of many documents a vendor. Rivals: the roadmap's Faker + Jinja2 + WeasyPrint (fonts
cut down by fontTools as on a machine without libharfbuzz-subset, by that library, or embedded whole) and skia-python
with fonts loaded once, all without boxes; and our own typeset tier. Besides: two processes against one, memory over
many documents, and the way to a gray picture. Rivals live in the virtual environment of `benchmarks.synthetic`.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, higher_is_better, lower_is_better
from benchmarks.rivals import rival_python
from benchmarks.synthetic import RIVAL_PACKAGES, ROOT, rival

RUNS = 3
DOCUMENTS = 4000  # of one world: some thirty a layout
WALL_DOCUMENTS = 1500
TYPESET_DOCUMENTS, SKIA_DOCUMENTS, IMAGE_DOCUMENTS, RIVAL_IMAGES = 60, 400, 60, 6
FEW, MANY = 2_000, 20_000  # documents between which memory must not grow
CHAINS = 6000  # of a world
DOTS_PER_INCH = 150
EXTRA_PACKAGES = ("skia-python>=138", "numpy", "pypdfium2>=5")
OURS = ("volume", "typeset", "image", f"memory-{FEW}", f"memory-{MANY}", "workers-1", "workers-2")
RIVALS = ("rival", "rival-fonttools", "rival-full-fonts", "skia", "rival-image")


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
            figures.setdefault(mode, []).append(_child([interpreter, "-m", "benchmarks.volume", mode]))
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
    return found | {
        "volume_gray_image": higher_is_better(
            ours=median["image"], rival=median["rival-image"], unit=unit, runs=RUNS,
            rival_name=f"Faker + Jinja2 + WeasyPrint + PDFium at {DOTS_PER_INCH} dpi, no boxes",
        ),
        "volume_two_processes": lower_is_better(
            ours=median["workers-2"], rival=median["workers-1"], rival_name="one process", unit="wall s", runs=RUNS
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


def _child(command: list[str]) -> float:
    """The figure that a fresh process reports."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _config(tier: str) -> tuple[Any, Any]:
    import yaml

    from sap_llm.synthetic.facts import BusinessFactsConfig
    from sap_llm.synthetic.stage import SyntheticDocsConfig

    facts, documents = (
        yaml.safe_load((ROOT / f"configs/tiny/{name}.yaml").read_text())
        for name in ("business_facts", "synthetic_docs")
    )
    return (
        BusinessFactsConfig(**facts | {"chains_per_world": CHAINS}),
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
    from itertools import islice

    from sap_llm.synthetic.stage import make_document
    from sap_llm.synthetic.volume.fonts import FAMILIES, face

    facts_config, config = _config(tier)
    facts = list(islice(_facts(facts_config, ten_lines=True), documents))
    for family in FAMILIES:  # fonts are read once a process, as those of skia-python
        for is_bold in (False, True):
            face(family, is_bold=is_bold)
    make_document(facts[0], config)
    return _rate(lambda: sum(bool(make_document(fact, config).get("blobs")) for fact in facts))


def image() -> float:
    """Documents per CPU second from facts to gray pictures of their first pages, with all truth."""
    from itertools import islice

    import pypdfium2

    from sap_llm.synthetic.stage import make_document

    facts_config, config = _config("volume")
    facts = list(islice(_facts(facts_config, ten_lines=True), IMAGE_DOCUMENTS))

    def one(fact: dict[str, Any]) -> int:
        file = pypdfium2.PdfDocument(make_document(fact, config)["blobs"][0]["content"])
        pixels: int = file[0].render(scale=DOTS_PER_INCH / 72, grayscale=True).to_numpy().size
        file.close()
        return bool(pixels)

    one(facts[0])
    return _rate(lambda: sum(map(one, facts)))


def peak_memory(documents: int) -> float:
    """MiB that a process had at most while it made documents, facts included."""
    from itertools import islice

    from sap_llm.synthetic.stage import make_document

    facts_config, config = _config("volume")
    for fact in islice(_facts(facts_config, ten_lines=False), documents):
        make_document(fact, config)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wall(workers: int) -> float:
    """Seconds for all files of the stage's parts, with that many processes; their start is left out."""
    import tempfile
    from functools import partial
    from itertools import islice

    from sap_llm.synthetic.stage import typeset_part
    from sap_llm.synthetic.workers import in_order

    facts_config, config = _config("volume")
    facts = list(islice(_facts(facts_config, ten_lines=False), WALL_DOCUMENTS))
    parts = [(index, facts[start : start + 64]) for index, start in enumerate(range(0, len(facts), 64))]
    with tempfile.TemporaryDirectory() as folder:
        work = partial(typeset_part, config=config, folder=Path(folder))
        started = 0.0
        for done, _ in enumerate(in_order(work, [*parts[:workers], *parts], workers=workers), start=1):
            if done == workers:
                started = time.perf_counter()
        return time.perf_counter() - started


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


def rival_image() -> float:
    """Documents per CPU second of the roadmap's way to a gray picture."""
    import pypdfium2

    def render(pdf: bytes) -> bytes:
        file = pypdfium2.PdfDocument(pdf)
        pixels = file[0].render(scale=DOTS_PER_INCH / 72, grayscale=True).to_numpy()
        file.close()
        return pdf if pixels.size else b""

    _always(after=render)
    return rival(uses_fonttools=False)


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
        "image": image,
        "memory": lambda: peak_memory(int(number)),
        "workers": lambda: wall(int(number)),
        "skia": skia_pdf,
        "rival": lambda: rival(uses_fonttools=False),
        "rival-fonttools": lambda: rival(uses_fonttools=True),
        "rival-full-fonts": full_fonts,
        "rival-image": rival_image,
    }
    return modes.get(mode, modes[name])()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_figure(sys.argv[1])) + "\n")
