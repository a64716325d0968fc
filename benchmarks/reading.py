"""How many PDF pages one CPU second reads to words with boxes, beside pdfplumber and PyMuPDF; what the sandbox adds.

Ours reads what a page shows: hidden text left out (for which it is rendered), quality, lines, reading order. The rivals
give words and boxes of whatever text there is. All read the same documents, typeset by the generator; the rivals live
in a virtual environment of their own.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.measure import Measure, figure_of, higher_is_better
from benchmarks.rivals import rival_python

ROOT = Path(__file__).parent.parent
RIVAL_PACKAGES = ("pdfplumber>=0.11,<0.12", "pymupdf>=1.26")
RUNS = 3
DOCUMENTS = 40
_RIVAL = """
import sys, time
from pathlib import Path
paths = sorted(Path(sys.argv[1]).glob("*.pdf"))
def read(path):
    with {open}(path) as document:
        return [page.{words} for page in {pages}]
read(paths[0])
started = time.process_time()
pages = [words for path in paths for words in read(path)]
print(len(pages) / (time.process_time() - started))
"""
_RIVALS = {
    "pdfplumber": "import pdfplumber\n"
    + _RIVAL.format(open="pdfplumber.open", words="extract_words()", pages="document.pages"),
    "pymupdf": "import pymupdf\n" + _RIVAL.format(open="pymupdf.open", words='get_text("words")', pages="document"),
}


def run() -> dict[str, Measure]:
    """Pages per CPU second, all sides in turns.

    Raises:
        MissingToolError: The rival cannot be installed.
    """
    python = str(rival_python("reading", RIVAL_PACKAGES, check="import pdfplumber, pymupdf"))
    figures: dict[str, list[float]] = {mode: [] for mode in ("ours", "sandbox", *_RIVALS)}
    with TemporaryDirectory() as folder:
        _write_documents(Path(folder))
        for _ in range(RUNS):
            for mode in ("ours", "sandbox"):
                figures[mode].append(figure_of([sys.executable, "-m", "benchmarks.reading", mode, folder]))
            for mode, script in _RIVALS.items():
                figures[mode].append(figure_of([python, "-c", script, folder]))
    sys.stdout.writelines(f"{mode}: {sorted(round(one, 2) for one in values)}\n" for mode, values in figures.items())
    return {
        "reading_pages": _measure(figures, "ours", "pdfplumber", "pdfplumber's extract_words"),
        "reading_pages_vs_pymupdf": _measure(figures, "ours", "pymupdf", "PyMuPDF's get_text"),
        "reading_pages_in_sandbox": _measure(
            figures, "sandbox", "pdfplumber", "pdfplumber's extract_words, unconfined"
        ),
        "reading_sandbox_overhead": _measure(figures, "sandbox", "ours", "the same reader in the same process"),
    }


def _measure(figures: dict[str, list[float]], ours: str, rival: str, name: str) -> Measure:
    median = {mode: round(statistics.median(figures[mode]), 3) for mode in (ours, rival)}
    return higher_is_better(
        ours=median[ours], rival=median[rival], rival_name=name, unit="pages per CPU second", runs=RUNS
    )


def _write_documents(folder: Path) -> None:
    import yaml

    from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
    from sap_llm.synthetic.stage import SyntheticDocsConfig, typeset_fact

    facts_values, values = (
        yaml.safe_load((ROOT / f"configs/tiny/{name}.yaml").read_text())
        for name in ("business_facts", "synthetic_docs")
    )
    facts = [fact for number in range(8) for fact in fact_rows(number, BusinessFactsConfig(**facts_values))]
    config = SyntheticDocsConfig(**values)
    contents = (blob["content"] for fact in facts for blob in typeset_fact(fact, config).get("blobs", ()))
    for number, content in zip(range(DOCUMENTS), contents, strict=False):
        (folder / f"{number:03}.pdf").write_bytes(content)


def ours(paths: Sequence[Path]) -> float:
    """Pages per CPU second of the reader in this process."""
    from sap_llm.reading.document import read_document

    return _rate(lambda path: len(read_document(path.read_bytes(), name=path.name).pages), paths, _own_seconds)


def sandboxed(paths: Sequence[Path]) -> float:
    """Pages per CPU second through the sandbox, both processes counted; its start is not."""
    from sap_llm.reading.sandbox import Sandbox

    with Sandbox() as sandbox:
        sandbox.read(b"start", name="start.txt")
        (child,) = psutil.Process().children()

        def seconds() -> float:
            times = child.cpu_times()
            return _own_seconds() + float(times.user + times.system)

        return _rate(lambda path: len(sandbox.read(path.read_bytes(), name=path.name).pages), paths, seconds)


def _own_seconds() -> float:
    return time.process_time()


def _rate(read: Callable[[Path], int], paths: Sequence[Path], seconds: Callable[[], float]) -> float:
    read(paths[0])
    started = seconds()
    pages = sum(read(path) for path in paths for _ in range(3))
    return pages / (seconds() - started)


if __name__ == "__main__":
    files = sorted(Path(sys.argv[2]).glob("*.pdf"))
    sys.stdout.write(json.dumps((sandboxed if sys.argv[1] == "sandbox" else ours)(files)) + "\n")
