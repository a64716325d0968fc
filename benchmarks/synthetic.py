"""How many synthetic documents one CPU second makes, beside the roadmap's Faker + Jinja2 + WeasyPrint.

Ours turns facts into a composed page, typesets it with Typst, reads every word's true box back and makes the annotation
rows. Two rivals know no boxes and no truth. The first is the roadmap's way as it stands: Faker's values on a bare page
of 15 fields and 10 lines. The second prints the same facts as ours with Jinja2 and WeasyPrint, on a page with about as
many words (parties, pairs, table, sums, payment, foot); it pays for no facts, as ours does not. Neither side's facts
are timed. The rivals' packages are no dependency of the project: they live in a virtual environment of their own.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, figure_of, higher_is_better, lower_is_better
from benchmarks.rivals import rival_python

ROOT = Path(__file__).parent.parent
RIVAL_PACKAGES = ("weasyprint>=66,<71", "jinja2>=3.1,<4", "faker>=40,<41")
RUNS = 3
OURS_DOCUMENTS, RIVAL_DOCUMENTS, WALL_DOCUMENTS = 150, 12, 600
_PAGE = Path(__file__).parent / "rival_page.html"
_PAIRS = (
    "document_number", "document_date", "order_number", "order_date", "delivery_date", "due_date", "customer_number",
    "supplier_number", "quotation", "incoterms", "contract",
)  # fmt: skip


def run() -> dict[str, Measure]:
    """Documents per CPU second, all sides in turns; wall seconds of two processes beside one.

    WeasyPrint shortens fonts with libharfbuzz-subset where the machine has that library, and otherwise with fontTools,
    which is several times slower: both are rivals.

    Raises:
        MissingToolError: The rival cannot be installed.
    """
    hint = " and the system libraries of Pango (apt: libpango-1.0-0)"
    python = str(rival_python("bench", RIVAL_PACKAGES, check="import weasyprint", hint=hint))
    rivals = ("rival", "rival-fonttools", "rival-facts", "rival-facts-fonttools")
    sides = {"ten": sys.executable, "all": sys.executable, **dict.fromkeys(rivals, python)}
    sides |= dict.fromkeys(("wall-1", "wall-2"), sys.executable)
    figures: dict[str, list[float]] = {mode: [] for mode in sides}
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        facts.write_text(json.dumps([_payload(fact) for fact in islice(_facts(ten_lines=True), RIVAL_DOCUMENTS)]))
        for _ in range(RUNS):
            for mode, interpreter in sides.items():
                figures[mode].append(figure_of([interpreter, "-m", "benchmarks.synthetic", mode, str(facts)]))
    sys.stdout.writelines(f"{mode}: {sorted(values)}\n" for mode, values in figures.items())
    bare, full = "Faker + Jinja2 + WeasyPrint, bare page, no boxes", "Jinja2 + WeasyPrint of the same facts, no boxes"
    by_system, by_fonttools = "system's font subsetting", "fontTools subsetting"
    wall = {mode: round(statistics.median(figures[mode]), 3) for mode in ("wall-1", "wall-2")}
    return {
        "synthetic_documents_ten_lines": _measure(figures, "ten", "rival", f"{bare}, {by_system}"),
        "synthetic_documents_as_generated": _measure(figures, "all", "rival", f"{bare}, {by_system}"),
        "synthetic_documents_ten_lines_vs_fonttools": _measure(
            figures, "ten", "rival-fonttools", f"{bare}, {by_fonttools}"
        ),
        "synthetic_documents_same_facts": _measure(figures, "ten", "rival-facts", f"{full}, {by_system}"),
        "synthetic_documents_same_facts_vs_fonttools": _measure(
            figures, "ten", "rival-facts-fonttools", f"{full}, {by_fonttools}"
        ),
        "synthetic_two_processes": lower_is_better(
            ours=wall["wall-2"], rival=wall["wall-1"], rival_name="one process", unit="wall s", runs=RUNS
        ),
    }


def _measure(figures: dict[str, list[float]], ours_mode: str, rival_mode: str, name: str) -> Measure:
    median = {mode: round(statistics.median(figures[mode]), 3) for mode in (ours_mode, rival_mode)}
    return higher_is_better(
        ours=median[ours_mode], rival=median[rival_mode], rival_name=name, unit="documents per CPU second", runs=RUNS
    )


def _configs() -> tuple[Any, Any]:
    import yaml

    from sap_llm.synthetic.facts import BusinessFactsConfig
    from sap_llm.synthetic.stage import SyntheticDocsConfig

    values = [
        yaml.safe_load((ROOT / f"configs/tiny/{name}.yaml").read_text())
        for name in ("business_facts", "synthetic_docs")
    ]
    return BusinessFactsConfig(**values[0]), SyntheticDocsConfig(**values[1])


def _facts(*, ten_lines: bool) -> Iterable[dict[str, Any]]:
    """Facts of the tiny profile as its stage takes them: by world, issuer and class."""
    from sap_llm.synthetic.composition import name_of
    from sap_llm.synthetic.facts import fact_rows

    facts_config, config = _configs()
    for number in range(100_000):
        facts = [f for f in fact_rows(number, facts_config) if name_of(f, config.documents_per_world) in
                 config.documents_per_world]  # fmt: skip
        for fact in sorted(facts, key=lambda fact: (fact["issuer"], fact["document_type"], fact["document_id"])):
            if not ten_lines or 9 <= len(json.loads(fact["payload"])["lines"]) <= 11:
                yield fact


def _payload(fact: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(fact["payload"])
    return payload | {key: fact[key] for key in ("currency", "language", "document_type")}


def ours(*, ten_lines: bool) -> float:
    """Documents per CPU second of `typeset_fact`: composing, typesetting, boxes, annotation rows."""
    from sap_llm.synthetic.stage import typeset_fact

    _, config = _configs()
    warmup, facts = 10, list(islice(_facts(ten_lines=ten_lines), OURS_DOCUMENTS + 10))
    for fact in facts[:warmup]:
        typeset_fact(fact, config)
    return _rate(lambda: sum("documents" in typeset_fact(fact, config) for fact in facts[warmup:]))


def wall(workers: int) -> float:
    """Seconds from facts to the files of the stage's parts, without the start of the processes."""
    from functools import partial

    from sap_llm.synthetic.stage import typeset_part
    from sap_llm.synthetic.workers import in_order

    _, config = _configs()
    config = config.model_copy(update={"tier": "typeset"})
    facts = list(islice(_facts(ten_lines=False), WALL_DOCUMENTS))
    parts = [(start, facts[start : start + 12]) for start in range(0, len(facts), 12)]
    with tempfile.TemporaryDirectory() as folder:
        work = partial(typeset_part, config=config, folder=Path(folder))
        first = [(-1 - number, facts[:12]) for number in range(8 * workers)]  # all processes are started and warm
        done = in_order(work, [*first, *parts], workers=workers)
        for _ in first:
            next(done)
        started = time.perf_counter()
        for _ in done:
            pass
        return round(time.perf_counter() - started, 3)


def rival(*, uses_fonttools: bool) -> float:
    """Documents per CPU second of the roadmap's way."""
    import weasyprint.pdf.fonts as rival_fonts  # type: ignore[import-not-found,unused-ignore]
    from faker import Faker  # type: ignore[import-not-found,unused-ignore]
    from jinja2 import Template  # type: ignore[import-not-found,unused-ignore]
    from weasyprint import HTML  # type: ignore[import-not-found,unused-ignore]

    if uses_fonttools:
        rival_fonts.harfbuzz_subset = None  # as on a machine without libharfbuzz-subset
    fake, template = Faker("de_DE"), Template(_TEMPLATE)

    def one() -> bytes:
        lines = [[fake.ean8(), fake.bs(), fake.random_int(1, 99), fake.pydecimal(3, 2, True)] for _ in range(10)]
        fields = {f"Feld {index}": fake.ean13() for index in range(11)}
        page = template.render(
            seller=fake.company(), street=fake.street_address(), city=fake.city(), buyer=fake.company(),
            number=fake.ean8(), date=fake.date(), fields=fields, lines=lines, total=fake.pydecimal(5, 2, True),
        )  # fmt: skip
        pdf: bytes = HTML(string=page).write_pdf()
        return pdf

    one()
    return _rate(lambda: sum(bool(one()) for _ in range(RIVAL_DOCUMENTS)))


def rival_of_facts(path: Path, *, uses_fonttools: bool) -> float:
    """Documents per CPU second of the roadmap's way from the facts in a file."""
    import weasyprint.pdf.fonts as rival_fonts  # type: ignore[import-not-found,unused-ignore]
    from jinja2 import Template  # type: ignore[import-not-found,unused-ignore]
    from weasyprint import HTML  # type: ignore[import-not-found,unused-ignore]

    if uses_fonttools:
        rival_fonts.harfbuzz_subset = None
    template = Template(_PAGE.read_text(encoding="utf-8"))
    payloads = json.loads(path.read_text())

    def one(payload: dict[str, Any]) -> bytes:
        pairs = [(name.replace("_", " ").capitalize(), payload[name]) for name in _PAIRS if payload.get(name)]
        title = payload["document_type"].replace("_", " ")
        pdf: bytes = HTML(string=template.render(pairs=pairs, title=title, **payload)).write_pdf()
        return pdf

    one(payloads[0])
    return _rate(lambda: sum(bool(one(payload)) for payload in payloads))


def _rate(work: Callable[[], int]) -> float:
    started = time.process_time()
    count = work()
    return round(count / (time.process_time() - started), 3)


_TEMPLATE = """<html><head><style>body{font-family:sans-serif;font-size:9pt} td{border:1px solid #888;padding:3px}
table{border-collapse:collapse;width:100%}</style></head><body><h1>Rechnung {{number}}</h1>
<p>{{seller}}<br>{{street}}<br>{{city}}</p>
<p>{{buyer}}</p><p>Datum: {{date}}</p>{% for name, value in fields.items() %}<div>{{name}}: {{value}}</div>{% endfor %}
<table>{% for line in lines %}<tr>{% for cell in line %}<td>{{cell}}</td>{% endfor %}</tr>{% endfor %}</table>
<p><b>Gesamtbetrag: {{total}} EUR</b></p></body></html>"""


def _figure(mode: str, facts: Path) -> float:
    uses_fonttools = mode.endswith("fonttools")
    if mode.startswith("rival-facts"):
        return rival_of_facts(facts, uses_fonttools=uses_fonttools)
    if mode.startswith("rival"):
        return rival(uses_fonttools=uses_fonttools)
    return wall(int(mode[-1])) if mode.startswith("wall") else ours(ten_lines=mode == "ten")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_figure(sys.argv[1], Path(sys.argv[2]))) + "\n")
