"""The report of a batch of people's answers: speed, agreement, quality and habits by person, in words and as a chart.

Belongs here: putting the figures of `agreement`, `quality` and `habits` together and writing them down, so that a lead
sees whom to train in what. `write_report` is for the stage that builds `human_annotations`; the UI shows the file.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median

import numpy as np
import pyarrow as pa

from sap_llm.annotation.adjudication import Resolution, resolve
from sap_llm.annotation.agreement import Agreement, Kappa, measure_agreement
from sap_llm.annotation.comparison import standing
from sap_llm.annotation.habits import BoxHabit, Habit, box_habits, habits, slips
from sap_llm.annotation.quality import Quality, held_against, quality_of
from sap_llm.schema.markdown import table
from sap_llm.storage.store import DatasetWriter

REPORT = "report.md"
CHART = "annotators.svg"
AIM = 0.95
"""Annotation quality score that the roadmap asks for."""
_HOUR = 3600.0
_SHOWN = 20
_ROW, _LABEL, _PLOT, _FLOOR = 22, 150, 300, 0.5  # pixels; shares below the floor stand at the left edge


@dataclass(frozen=True, kw_only=True)
class Person:
    """One annotator.

    Attributes:
        documents: Documents answered, arbitrations apart.
        answers: Answers given, every revision and arbitration.
        median_seconds: Time spent on an answer; None where the desk does not tell.
        documents_per_hour: Timed answers by the hours spent on them; None likewise.
        class_kappa: Mean with each other person, weighted by shared documents; None where undefined.
        field_kappa: The same of header fields.
        quality: On all documents that have a reference, sampled or arbitrated.
    """

    documents: int
    answers: int
    median_seconds: float | None
    documents_per_hour: float | None
    class_kappa: float | None
    field_kappa: float | None
    quality: Quality


@dataclass(frozen=True, kw_only=True)
class AnnotatorReport:
    """Everything that a batch says about those who answered it.

    Attributes:
        agreement: Of independent answers.
        resolution: What the answers amount to.
        quality: The annotation quality score, on documents that the QA lead answered.
        quality_disputed: The same share on documents that were arbitrated.
        arbitrations: Every one, with or without a reason, rows of `schema.annotation.ANSWERS`; the latest first.
        people: By id.
        habits: Of all people.
        box_habits: Of all people.
    """

    agreement: Agreement
    resolution: Resolution
    quality: Quality
    quality_disputed: Quality
    arbitrations: pa.Table
    people: dict[str, Person]
    habits: list[Habit]
    box_habits: list[BoxHabit]

    def metrics(self) -> dict[str, float | int | str]:
        """Numbers for a manifest; what could not be measured says so."""
        settled = list(self.resolution.settled_by.values())
        score = self.quality.share
        return self.agreement.metrics() | {
            "quality_score": "not measured" if score is None else round(score, 4),
            "quality_documents": self.quality.documents,
            "disagreements": self.resolution.disagreements.num_rows,
            "arbitrations": settled.count("arbitration"),
            "arbitrations_refused": self.resolution.refused.num_rows,
            "annotators": len(self.people),
        }


def report_on(annotations: pa.Table, answers: pa.Table, *, seed: int = 0) -> AnnotatorReport:
    """Measure a batch and everybody who answered it.

    Args:
        annotations: Table `annotations` of `human_annotations`.
        answers: Table `answers` of `human_annotations`.
        seed: Of the intervals of agreement.

    Raises:
        ValueError: The tables do not belong together.
    """
    agreement = measure_agreement(annotations, answers, seed=seed)
    resolution = resolve(annotations, answers)
    opinions, arbitrations = standing(annotations, answers)
    held = held_against(opinions, resolution)
    arbitrated = {name for name, how in resolution.settled_by.items() if how == "arbitration"}
    is_disputed = np.array([name in arbitrated for name in held.documents()], bool)
    counts = Counter(opinions.answers.column("annotator").to_pylist())
    return AnnotatorReport(
        agreement=agreement,
        resolution=resolution,
        quality=quality_of(held, held.is_sampled),
        quality_disputed=quality_of(held, is_disputed),
        arbitrations=arbitrations.answers.sort_by([("created_at", "descending"), ("desk_id", "ascending")]),
        people={
            name: _person(agreement, name, times, counts[name], quality_of(held, held.annotators == name))
            for name, times in sorted(_times(answers).items())
        },
        habits=habits(held, slips(held)),
        box_habits=box_habits(held),
    )


def write_report(writer: DatasetWriter, report: AnnotatorReport, *, title: str) -> None:
    """Write the report and its chart as files of a dataset version."""
    writer.path(REPORT).write_text(markdown(report, title=title), encoding="utf-8")
    writer.path(CHART).write_text(chart(report.people), encoding="utf-8")


def markdown(report: AnnotatorReport, *, title: str) -> str:
    """The report in words and tables, with its chart."""
    agreement = report.agreement
    alphas = [
        "undefined" if value is None else f"{value:.3f}" for value in (agreement.class_alpha, agreement.field_alpha)
    ]
    sections = [
        f"# {title}",
        _settled_said(report),
        "## Quality",
        _quality_said(report),
        "## Agreement",
        table(
            ["", "Cohen's kappa", "agreed", "comparisons", "without a kappa", "Krippendorff's alpha"],
            [
                _agreement_row("class", agreement.class_kappa, alphas[0]),
                _agreement_row("subtype", agreement.subtype_kappa, ""),
                _agreement_row("header fields, pooled", agreement.field_kappa, alphas[1]),
            ],
        ),
        table(
            ["field", "kappa", "both", "one only", "same value", "same value and place", "median overlap"],
            [
                [name, own.kappa, own.both, own.one_only, own.same_value, own.same, _number(own.overlap)]
                for name, own in agreement.by_field.items()
            ],
        ),
        _overlaps_said(agreement),
        "## People",
        table(
            ["person", "documents", "documents an hour", "median s", "class kappa", "field kappa", "quality"],
            [_person_row(name, person) for name, person in report.people.items()],
        ),
        f"![quality by person with its interval; the line is {AIM:.0%}]({CHART})",
        "## Habits",
        _habits_said(report),
        "## Arbitrations",
        _arbitrations_said(report),
    ]
    return "\n\n".join(sections) + "\n"


def chart(people: Mapping[str, Person]) -> str:
    """SVG: each person's quality as a dot on its interval, and the aim as a line."""

    def place(share: float) -> float:
        return round(_LABEL + max(0.0, share - _FLOOR) / (1 - _FLOOR) * _PLOT, 1)

    drawn = []
    for number, (name, person) in enumerate(people.items()):
        middle = number * _ROW + 14
        drawn.append(f'<text x="{_LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
        if person.quality.share is None:
            drawn.append(f'<text x="{_LABEL + 4}" y="{middle + 4}" fill="#888">not measured</text>')
            continue
        low, share, high = (place(value) for value in (person.quality.low, person.quality.share, person.quality.high))
        drawn.append(f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}" stroke="#06c" stroke-width="3"/>')
        drawn.append(f'<circle cx="{share}" cy="{middle}" r="5" fill="#06c"/>')
        drawn.append(f'<text x="{_LABEL + _PLOT + 10}" y="{middle + 4}">{person.quality.share:.1%}</text>')
    height = len(people) * _ROW + 28
    axis = "".join(
        f'<text x="{place(share)}" y="{height - 6}" text-anchor="middle" fill="#888">{share:.0%}</text>'
        for share in (_FLOOR, 0.75, AIM)
    )
    aim = f'<line x1="{place(AIM)}" x2="{place(AIM)}" y1="2" y2="{height - 20}" stroke="#c03" stroke-dasharray="4 3"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _PLOT + 60}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
        f"{aim}{axis}{''.join(drawn)}</svg>"
    )


def _person(agreement: Agreement, name: str, times: Sequence[float | None], documents: int, quality: Quality) -> Person:
    timed = [seconds for seconds in times if seconds is not None and seconds > 0]
    own = [pair for people, pair in agreement.by_pair.items() if name in people]
    return Person(
        documents=documents,
        answers=len(times),
        median_seconds=median(timed) if timed else None,
        documents_per_hour=len(timed) * _HOUR / sum(timed) if timed else None,
        class_kappa=_weighted([(pair.class_kappa, pair.documents) for pair in own]),
        field_kappa=_weighted([(pair.field_kappa, pair.documents) for pair in own]),
        quality=quality,
    )


def _weighted(values: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None


def _times(answers: pa.Table) -> dict[str, list[float | None]]:
    times: dict[str, list[float | None]] = {}
    for name, seconds in zip(*(answers.column(key).to_pylist() for key in ("annotator", "lead_seconds")), strict=True):
        times.setdefault(name, []).append(seconds)
    return times


def _settled_said(report: AnnotatorReport) -> str:
    agreement, resolution = report.agreement, report.resolution
    settled = Counter(resolution.settled_by.values())
    return (
        f"{agreement.documents:,} documents were answered, {agreement.documents_doubled:,} by at least two people. "
        f"Settled by one answer {settled['single']:,}, by agreement {settled['agreement']:,}, by arbitration "
        f"{settled['arbitration']:,}; for the seniors {resolution.disagreements.num_rows:,}; arbitrations without a "
        f"reason {resolution.refused.num_rows:,}."
    )


def _quality_said(report: AnnotatorReport) -> str:
    return (
        f"Annotation quality score: {report.quality}, aim above {AIM:.0%}, on {report.quality.documents:,} documents "
        f"that the QA lead answered. On arbitrated documents: {report.quality_disputed}, "
        f"{report.quality_disputed.documents:,} documents. It is the share of right fields (class, subtype, header "
        "fields and cells of line items that either side names, equal by value) of all answers but QA's; right is what "
        "the arbitration says, else the QA lead. Intervals are Wilson's with documents as trials."
    )


def _agreement_row(name: str, kappa: Kappa, alpha: str) -> list[object]:
    agreed = "" if kappa.agreed is None else f"{kappa.agreed:.1%}"
    return [name, kappa, agreed, kappa.comparisons, kappa.undefined, alpha]


def _person_row(name: str, person: Person) -> list[object]:
    rate = "" if person.documents_per_hour is None else f"{person.documents_per_hour:.1f}"
    seconds = "" if person.median_seconds is None else f"{person.median_seconds:.0f}"
    kappas = ["undefined" if value is None else f"{value:.3f}" for value in (person.class_kappa, person.field_kappa)]
    return [name, person.documents, rate, seconds, *kappas, person.quality]


def _overlaps_said(agreement: Agreement) -> str:
    if agreement.overlaps is None:
        return "No field has two boxes to compare."
    quantiles = ", ".join(f"{percent} % {value:.2f}" for percent, value in agreement.overlaps.quantiles.items())
    return (
        f"Overlap (intersection over union) of {agreement.overlaps.boxes:,} pairs of boxes: mean "
        f"{agreement.overlaps.mean:.2f}; quantiles {quantiles}."
    )


def _habits_said(report: AnnotatorReport) -> str:
    rows: list[list[object]] = [
        [habit.annotator, habit, f"{habit.count} of {habit.chances}", f"{habit.others:.1%}", ", ".join(habit.examples)]
        for habit in report.habits
    ]
    rows += [
        [habit.annotator, habit, f"{habit.share:.0%} of {habit.boxes}", f"median ratio {habit.ratio:.2f}", ""]
        for habit in report.box_habits
    ]
    said = (
        "What a person does at least three times and clearly more often than the others at the same chance; held "
        "against the arbitration, else the QA lead's answer, else every other answer (then nobody knows who is right)."
    )
    found = table(["person", "habit", "how often", "others", "for example"], rows) if rows else "None was found."
    return f"{said}\n\n{found}"


def _arbitrations_said(report: AnnotatorReport) -> str:
    rows = [
        [row["document_id"], row["annotator"], f"{row['created_at']:%Y-%m-%d %H:%M} UTC", row["why"] or "(no reason)"]
        for row in report.arbitrations.slice(0, _SHOWN).to_pylist()
    ]
    found = table(["document", "who", "when", "why"], rows) if rows else "There was none."
    return f"{report.arbitrations.num_rows:,} were given; the latest of them:\n\n{found}" if rows else found


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
