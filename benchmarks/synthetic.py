"""How many synthetic documents one CPU second makes, beside the roadmap's Faker + Jinja2 + WeasyPrint.

Ours typesets facts with Typst and reads every word's true box back; the rival renders an HTML page of the same size
(15 fields, 10 lines) to PDF and knows no boxes. The rival's packages are no dependency of the project: they live in a
virtual environment of their own, made on demand.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Measure, figure_of, higher_is_better
from benchmarks.rivals import rival_python

ROOT = Path(__file__).parent.parent
RIVAL_PACKAGES = ("weasyprint>=66,<71", "jinja2>=3.1,<4", "faker>=40,<41")
RUNS = 3
OURS_DOCUMENTS, RIVAL_DOCUMENTS = 150, 12


def run() -> dict[str, Measure]:
    """Documents per CPU second, all sides in turns.

    WeasyPrint shortens fonts with libharfbuzz-subset where the machine has that library, and otherwise with fontTools,
    which is several times slower: both are rivals.

    Raises:
        MissingToolError: The rival cannot be installed.
    """
    hint = " and the system libraries of Pango (apt: libpango-1.0-0)"
    python = str(rival_python("bench", RIVAL_PACKAGES, check="import weasyprint", hint=hint))
    sides = {"ten": sys.executable, "all": sys.executable, "rival": python, "rival-fonttools": python}
    figures: dict[str, list[float]] = {mode: [] for mode in sides}
    for _ in range(RUNS):
        for mode, interpreter in sides.items():
            figures[mode].append(figure_of([interpreter, "-m", "benchmarks.synthetic", mode]))
    sys.stdout.writelines(f"{mode}: {sorted(values)}\n" for mode, values in figures.items())
    name = "Faker + Jinja2 + WeasyPrint, no boxes"
    return {
        "synthetic_documents_ten_lines": _measure(figures, "ten", "rival", f"{name}, system's font subsetting"),
        "synthetic_documents_as_generated": _measure(figures, "all", "rival", f"{name}, system's font subsetting"),
        "synthetic_documents_ten_lines_vs_fonttools": _measure(
            figures, "ten", "rival-fonttools", f"{name}, fontTools subsetting"
        ),
    }


def _measure(figures: dict[str, list[float]], ours_mode: str, rival_mode: str, name: str) -> Measure:
    median = {mode: round(statistics.median(figures[mode]), 3) for mode in (ours_mode, rival_mode)}
    return higher_is_better(
        ours=median[ours_mode], rival=median[rival_mode], rival_name=name, unit="documents per CPU second", runs=RUNS
    )


def ours(*, ten_lines: bool) -> float:
    """Documents per CPU second of `typeset_fact`: composing, typesetting, boxes, annotation rows."""
    import yaml

    from sap_llm.synthetic.composition import name_of
    from sap_llm.synthetic.facts import BusinessFactsConfig, fact_rows
    from sap_llm.synthetic.stage import SyntheticDocsConfig, typeset_fact

    values = [
        yaml.safe_load((ROOT / f"configs/tiny/{name}.yaml").read_text())
        for name in ("business_facts", "synthetic_docs")
    ]
    facts_config, config = BusinessFactsConfig(**values[0]), SyntheticDocsConfig(**values[1])
    composition = config.documents_per_world
    facts = [
        fact
        for number in range(60)
        for fact in fact_rows(number, facts_config)
        if name_of(fact, composition) in composition
    ]
    if ten_lines:
        facts = [fact for fact in facts if 9 <= len(json.loads(fact["payload"])["lines"]) <= 11]
    picked = facts[:: max(1, len(facts) // OURS_DOCUMENTS)][:OURS_DOCUMENTS]

    def work() -> int:
        return sum("documents" in typeset_fact(fact, config) for fact in picked)

    for fact in picked[:10]:
        typeset_fact(fact, config)
    return _rate(work)


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

if __name__ == "__main__":
    mode = sys.argv[1]
    figure = (
        rival(uses_fonttools=mode.endswith("fonttools")) if mode.startswith("rival") else ours(ten_lines=mode == "ten")
    )
    sys.stdout.write(json.dumps(figure) + "\n")
