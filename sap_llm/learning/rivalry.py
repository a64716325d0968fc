"""A challenger beside the champion on the documents of one frozen test: all of them, and slice by slice.

Belongs here: which slices are compared, what a slice may cost the challenger, and the table that says so. The
statistics are `learning.comparison`; who becomes champion is decided in `learning.promotion`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator

from sap_llm.learning.comparison import Comparison, Outcome, SliceVerdict, compare, harmed_slices, judge_slice
from sap_llm.schema.errors import ConfigurationError

ALL = "all"
_VIEWS = ("language", "document_type")
_COUNTS = ("true_positives", "false_positives", "false_negatives")
_LEAST_GROUPS = 30  # below, a bootstrap of groups says nothing that could refuse a model

RIVALRY = pa.schema(
    [
        pa.field("slice", pa.string(), nullable=False),  # all | language=de | document_type=...
        pa.field("kind", pa.string(), nullable=False),  # all | protected | other
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("groups", pa.int64(), nullable=False),
        pa.field("difference", pa.float64(), nullable=False),  # of micro F1, challenger minus champion
        pa.field("lower", pa.float64(), nullable=False),
        pa.field("upper", pa.float64(), nullable=False),
        pa.field("required_groups", pa.int64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),  # not inferior | inferior | undecidable | harmed
    ]
)
"""Table `comparison` of `registered_model`."""


class RivalryConfig(BaseModel):
    """What a challenger may lose, and where it may not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protected: tuple[str, ...] = Field(
        max_length=5,
        description="slices that must be shown to lose nothing: language=de, document_type=SUPPLIER_INVOICE",
    )
    epsilon: float = Field(gt=0, lt=1, description="loss of F1 that is tolerated, 0.01 is one point")
    alpha: float = Field(gt=0, lt=0.5, description="chance to pass a slice that lost epsilon")
    power: float = Field(gt=0.5, lt=1, description="chance of an equal model to pass that a slice is sized for")
    resamples: int = Field(ge=200, description="of the bootstrap")

    @field_validator("protected")
    @classmethod
    def _is_slice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in names if name.partition("=")[0] not in _VIEWS or not name.partition("=")[2]]:
            raise ValueError(f"{', '.join(wrong)}: a slice is one of {', '.join(f'{view}=...' for view in _VIEWS)}")
        return names


@dataclass(frozen=True, kw_only=True)
class Rivalry:
    """Rows of `RIVALRY`, the overall difference in a sentence, and why the challenger must not win (None: it may)."""

    rows: list[dict[str, Any]]
    summary: str
    refusal: str | None

    def report(self) -> str:
        """The table as Markdown, differences in points of F1."""
        head = "| Slice | Kind | Documents | Groups | Difference | from | to | Groups needed | Outcome |"
        lines = [
            f"| {row['slice']} | {row['kind']} | {row['documents']} | {row['groups']} | {100 * row['difference']:+.2f} "
            f"| {100 * row['lower']:+.2f} | {100 * row['upper']:+.2f} | {row['required_groups']} | {row['outcome']} |"
            for row in self.rows
        ]
        return "\n".join([head, "|---|---|---|---|---|---|---|---|---|", *lines, ""])


def compare_rivals(champion: pa.Table, challenger: pa.Table, *, config: RivalryConfig, seed: int) -> Rivalry:
    """Compare two models document by document.

    A protected slice refuses the challenger unless it is shown that it loses less than epsilon; one that is too small
    to show it says how many groups it needs. Any other slice refuses it only on evidence of harm.

    Args:
        champion: Rows of `releases.DOCUMENT_SCORES` of one test.
        challenger: The same of the same documents, in any order.
        config: Slices, epsilon, errors.
        seed: Of the bootstrap.

    Raises:
        ConfigurationError: The documents are not the same.
    """
    pairs = _paired(champion, challenger)
    others = [name for name in _slices(pairs) if name not in config.protected]
    found = {name: _compare(pairs, name, config=config, seed=seed) for name in (ALL, *config.protected, *others)}
    verdicts = {
        name: judge_slice(one, epsilon=config.epsilon, alpha=config.alpha, power=config.power)
        for name, one in found.items()
        if one is not None
    }
    trusted = {name: verdicts[name].comparison for name in others if verdicts[name].comparison.groups >= _LEAST_GROUPS}
    harmed = harmed_slices(trusted, epsilon=config.epsilon, alpha=config.alpha)
    closed = [
        f"{name} {verdicts[name].explain() if name in verdicts else 'has no document'}"
        for name in config.protected
        if name not in verdicts or verdicts[name].outcome is not Outcome.NOT_INFERIOR
    ]
    closed += [f"{name} is harmed: {verdicts[name].explain()}" for name in harmed]
    return Rivalry(
        rows=[_row(name, one, pairs, config, harmed) for name, one in verdicts.items()],
        summary=f"On the same documents {_interval(verdicts[ALL])}.",
        refusal="; ".join(closed) or None,
    )


def _paired(champion: pa.Table, challenger: pa.Table) -> pa.Table:
    ordered = [table.sort_by("document_id") for table in (champion, challenger)]
    if ordered[0].column("document_id") != ordered[1].column("document_id"):
        raise ConfigurationError(
            f"the champion was measured on {champion.num_rows} documents, the challenger on {challenger.num_rows}, and "
            "they are not the same",
            where="champion against challenger",
            remedy="Evaluate both models on the same test version.",
        )
    pairs = ordered[1]
    for name in _COUNTS:
        pairs = pairs.append_column(f"champion_{name}", ordered[0].column(name))
    return pairs


def _slices(pairs: pa.Table) -> list[str]:
    return [
        f"{view}={value}" for view in _VIEWS for value in sorted(pc.unique(pairs.column(view)).drop_null().to_pylist())
    ]


def _of_slice(pairs: pa.Table, name: str) -> pa.Table:
    view, _, value = name.partition("=")
    return pairs if name == ALL else pairs.filter(pc.equal(pairs.column(view), value))


def _compare(pairs: pa.Table, name: str, *, config: RivalryConfig, seed: int) -> Comparison | None:
    own = _of_slice(pairs, name)
    if not own.num_rows:
        return None

    def counts(prefix: str) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
        return np.column_stack([own.column(f"{prefix}{count}").to_numpy() for count in _COUNTS])

    groups = np.asarray(own.column("split_group").to_pylist(), dtype=np.str_)
    return compare(counts("champion_"), counts(""), groups, seed=seed, resamples=config.resamples, alpha=config.alpha)


def _row(name: str, verdict: SliceVerdict, pairs: pa.Table, config: RivalryConfig, harmed: list[str]) -> dict[str, Any]:
    found = verdict.comparison
    return {
        "slice": name,
        "kind": ALL if name == ALL else "protected" if name in config.protected else "other",
        "documents": _of_slice(pairs, name).num_rows,
        "groups": found.groups,
        "difference": found.difference,
        "lower": found.lower,
        "upper": found.upper,
        "required_groups": verdict.required_groups,
        "outcome": "harmed" if name in harmed else str(verdict.outcome),
    }


def _interval(verdict: SliceVerdict) -> str:
    found = verdict.comparison
    return (
        f"{100 * found.difference:+.2f} points of F1 [{100 * found.lower:+.2f}, {100 * found.upper:+.2f}] over "
        f"{found.groups} groups"
    )
