"""How far a corpus is from the composition that the roadmap asks for: counts, shares, gaps in words and as a chart.

Belongs here: comparing counts with targets and writing that down. What is counted is `release`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CHART = "composition.svg"
_BAR, _ROW, _LABEL, _WIDTH = 260, 30, 170, 520
_TARGET, _ACTUAL = "#bbb", "#06c"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One part of the composition.

    Attributes:
        name: Of the class or the source.
        target: Share that is wanted.
        goal: Number that is wanted.
        actual: Number that is there.
        total: Number that is there of all parts together.
    """

    name: str
    target: float
    goal: int
    actual: int
    total: int

    @property
    def share(self) -> float:
        """Share that is there."""
        return self.actual / max(1, self.total)

    @property
    def lacking(self) -> int:
        """How many are missing to the goal; never negative."""
        return max(0, self.goal - self.actual)

    def said(self, unit: str) -> str:
        """The gap as a sentence: to the goal, and to the share at the size that the corpus has."""
        name = self.name.lower().replace("_", " ")
        subject = name if name.endswith("s") else f"{name}s"
        if not self.goal and not self.target:
            return f"{subject}: {self.actual:,} {unit}, none asked for"
        words = f"{subject} lack {self.lacking:,} {unit}" if self.lacking else f"{subject} are complete"
        wanted = round(self.target * self.total)
        if self.lacking and self.actual >= wanted:
            return f"{words}, though their share is met"
        return (
            f"{words}, {wanted - self.actual:,} of them at the present size" if self.lacking and self.total else words
        )


def gaps(goals: Mapping[str, int], counts: Mapping[str, int]) -> list[Gap]:
    """Each part with a goal or a count, in the order of the goals; shares are the goals' own."""
    wanted, total = max(1, sum(goals.values())), sum(counts.values())
    names = [*goals, *sorted(counts.keys() - goals.keys())]
    return [
        Gap(
            name=name,
            target=goals.get(name, 0) / wanted,
            goal=goals.get(name, 0),
            actual=counts.get(name, 0),
            total=total,
        )
        for name in names
    ]


def report(title: str, parts: Iterable[tuple[str, list[Gap], str]]) -> str:
    """Markdown: for each part, given as heading, gaps and unit, a table and the sentences; at the end the chart."""
    sections = [f"# {title}"]
    for heading, found, unit in parts:
        rows = [
            f"| {gap.name} | {gap.goal:,} | {gap.actual:,} | {gap.target:.1%} | {gap.share:.1%} | {gap.lacking:,} |"
            for gap in found
        ]
        head = ["| | target | actual | target share | actual share | lacking |", "|---|--:|--:|--:|--:|--:|"]
        said = "; ".join(gap.said(unit) for gap in found)
        sections += [f"## {heading}", "\n".join([*head, *rows]), f"{said[:1].upper()}{said[1:]}."]
    return "\n\n".join([*sections, f"![target (gray) and actual (blue) shares]({CHART})"]) + "\n"


def chart(found: Iterable[Gap]) -> str:
    """SVG: for each part a bar of its target share above one of its actual share."""
    rows = list(found)
    longest = max((max(gap.target, gap.share) for gap in rows), default=0.0) or 1.0
    drawn = []
    for number, gap in enumerate(rows):
        top = number * _ROW + 4
        bars = ((gap.target, _TARGET, top), (gap.share, _ACTUAL, top + 11))
        drawn.append(f'<text x="{_LABEL - 6}" y="{top + 14}" text-anchor="end">{gap.name}</text>')
        for share, colour, y in bars:
            width = round(share / longest * _BAR)
            drawn.append(f'<rect x="{_LABEL}" y="{y}" width="{width}" height="10" fill="{colour}"/>')
            drawn.append(f'<text x="{_LABEL + width + 4}" y="{y + 9}">{share:.1%}</text>')
    height = len(rows) * _ROW + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="10"><rect width="{_WIDTH}" height="{height}" fill="#fff"/>{"".join(drawn)}</svg>'
    )
