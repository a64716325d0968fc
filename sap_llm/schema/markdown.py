"""Tables in Markdown, as reports of datasets have them.

Only the form belongs here; what a report says does not (it is written by the stage that knows the numbers).
"""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with its heading; cells are put on one line and their bars escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows)])


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
