"""How histories and differences of dataset versions look in a terminal: counts first, examples after.

Belongs here: tables and lines for `sap-llm data`. What they say is made by `sap_llm.storage`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from sap_llm.storage.diff import Change, VersionDiff
    from sap_llm.storage.dvc_ledger import Entry
    from sap_llm.storage.label_changes import LabelChanges
    from sap_llm.storage.versions import LogEntry

_METRICS = 6  # changed metrics named for a version
_FIELDS = 20
_VALUE = 60


def whole(*heads: str) -> list[Column]:
    """Columns that break long words instead of cutting them: versions and names are there to be copied."""
    return [Column(head, overflow="fold") for head in heads]


def history_table(
    name: str, entries: "Sequence[LogEntry]", tracked: Collection[str], remote: "Sequence[Entry]"
) -> Table:
    """The versions that are here, newest first, and below them those that only DVC has."""
    heads = ("version", "built (UTC)", "by", "code", "rows", "state", "metrics that changed")
    table = Table(*whole(*heads), title=Text(name))
    for entry in entries:
        manifest = entry.manifest
        state = ["deleted, bytes still here"] if entry.is_hidden else ["current"] if entry.is_current else []
        state += ["in DVC"] if manifest.version in tracked else []
        table.add_row(
            *(Text(text) for text in (manifest.version, f"{manifest.created_at:%Y-%m-%d %H:%M}", manifest.built_by)),
            Text(manifest.code_version),
            Text(_rows(manifest.rows)),
            Text(", ".join(state)),
            Text(_metrics(entry.metrics_changed)),
        )
    for known in remote:
        about = known.about
        built = f"{about.created_at:%Y-%m-%d %H:%M}" if about else ""
        state = ["only in DVC"] + (["deleted here"] if known.is_retired else [])
        cells = (known.ref.version, built, "", about.code_version if about else "", _rows(about.rows) if about else "")
        table.add_row(*(Text(text) for text in (*cells, ", ".join(state), "")))
    return table


def print_diff(console: Console, diff: "VersionDiff") -> None:
    """Everything that differs."""
    console.print(Text(f"{diff.before} -> {diff.after}"))
    console.print("the same data" if diff.has_same_data else "the data differ")
    _print_tables(console, diff)
    _print_classes(console, diff)
    for column, moves in diff.moves.items():
        title = "relabelled (document_type)" if column == "document_type" else f"changed {column}"
        table = Table("from", "to", "documents", "examples", title=title)
        for move in moves:
            table.add_row(
                *(Text(str(text)) for text in (move.before, move.after, move.documents)), _listed(move.examples)
            )
        console.print(table)
    if diff.labels is not None:
        _print_labels(console, diff.labels)
    for title, changes in (
        ("quarantine by reason", diff.quarantine),
        ("code", diff.identity),
        ("configuration", diff.configuration),
        ("inputs", diff.inputs),
        ("metrics", diff.metrics),
        ("files", diff.files),
    ):
        _print_changes(console, title, changes)


def _print_tables(console: Console, diff: "VersionDiff") -> None:
    table = Table("table", "rows before", "after", "added", "removed", "changed", "columns that differ", title="rows")
    for name, rows in diff.tables.items():
        columns = ", ".join(f"{column} {count:,}" for column, count in rows.columns.items())
        counts = (rows.before, rows.after, rows.added, rows.removed, rows.changed)
        table.add_row(Text(name), *(f"{count:,}" for count in counts), Text(columns))
    console.print(table)
    for name, rows in diff.tables.items():
        for kind, found in (("added", rows.added_examples), ("removed", rows.removed_examples)):
            if found:
                console.print(Text(f"  {name} {kind}, for example {', '.join(found)}"))


def _print_classes(console: Console, diff: "VersionDiff") -> None:
    if not diff.classes:
        return
    moves = diff.moves.get("document_type", [])
    table = Table("class", "before", "after", "added", "removed", "relabelled to", "from", title="documents by class")
    for name, counts in diff.classes.items():
        gained = sum(move.documents for move in moves if move.after == name)
        lost = sum(move.documents for move in moves if move.before == name)
        row = (counts.before, counts.after, counts.added, counts.removed, gained, lost)
        table.add_row(Text(name), *(f"{count:,}" for count in row))
    console.print(table)


def _print_labels(console: Console, labels: "LabelChanges") -> None:
    title = f"labels: {labels.documents_relabelled:,} of {labels.documents_compared:,} documents differ"
    table = Table("class", "field", "changed", "added", "removed", "examples: before -> after", title=title)
    for one in labels.fields[:_FIELDS]:
        examples = "\n".join(
            f"{change.document_id}: {_short(change.before)} -> {_short(change.after)}" for change in one.examples
        )
        counts = (f"{one.changed:,}", f"{one.added:,}", f"{one.removed:,}")
        table.add_row(Text(one.document_type), Text(one.field), *counts, Text(examples))
    console.print(table)
    if len(labels.fields) > _FIELDS:
        console.print(f"  and {len(labels.fields) - _FIELDS} more fields; --json has them all")


def _print_changes(console: Console, title: str, changes: "Mapping[str, Change]") -> None:
    if not changes:
        return
    table = Table("", "before", "after", title=title)
    for name, change in changes.items():
        table.add_row(Text(name), Text(_short(change.before)), Text(_short(change.after)))
    console.print(table)


def _rows(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in rows.items())


def _metrics(changed: "Mapping[str, Change]") -> str:
    shown = [f"{name} {_short(one.before)} -> {_short(one.after)}" for name, one in list(changed.items())[:_METRICS]]
    rest = len(changed) - _METRICS
    return "\n".join([*shown, *([f"and {rest} more"] if rest > 0 else [])])


def _listed(texts: Sequence[str]) -> Text:
    return Text(", ".join(texts))


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."
