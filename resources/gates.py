"""What the UI shows of gates: rows that failed, and the overrides that people recorded.

Belongs here: verdicts and overrides as Dagster's metadata. Judging and keeping them is the domain's.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from sap_llm.registry.verdicts import Override


def rows_table(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Failing rows as a table under `failing_rows`; nothing where there are none."""
    if not rows:
        return {}
    names = list(dict.fromkeys(name for row in rows for name in row))
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in names])
    records = [dg.TableRecord({name: row.get(name, "") for name in names}) for row in rows]
    return {"failing_rows": dg.MetadataValue.table(records=records, schema=schema)}


def overrides_table(overrides: Iterable[Override], *, now: datetime) -> dict[str, Any]:
    """Overrides as a Markdown table under `overrides`, newest first; nothing where there are none."""
    lines = [
        f"|{entry.gate}|{_cell(entry.who)} (unverified)|{_cell(entry.why)}|{entry.until:%Y-%m-%d %H:%M} UTC|"
        f"{'opens it now' if entry.until > now else 'ended'}|"
        for entry in sorted(overrides, key=lambda entry: entry.created_at, reverse=True)
    ]
    if not lines:
        return {}
    return {
        "overrides": dg.MetadataValue.md("\n".join(["|gate|who|why|until|state|", "|---|---|---|---|---|", *lines]))
    }


def _cell(text: str) -> str:
    """Text of a person inside a Markdown table: one line, no cell of its own, no markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{char}" if char in r"\|`*_[]<>!" else char for char in flat)
