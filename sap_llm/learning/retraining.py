"""When to retrain: the policy over the stream of feedback, and the cursor that makes it fire exactly once.

Belongs here: the decision and its explanation. Feedback is recorded in `pmg.feedback`; launching the run is the
sensor's.

The stream is cut into segments at fixed points that depend on the feedback alone, never on when somebody looked: at
the first feedback that makes the counts reach the bar, or at the end of the waiting time. A run's key is derived from
the corrections in its segment. So ticks at any time, a restart or a cursor that was reset find the same segments and
ask for the same run, which the orchestrator starts once.

Source of the numbers: roadmap, month 8 (500 corrections at 10 % error, or two weeks).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sap_llm.graph.client import GraphClient
from sap_llm.pmg.feedback import FeedbackEvent, feedback_after
from sap_llm.storage.build import StageConfig


class RetrainingConfig(StageConfig):
    """`configs/<profile>/retraining.yaml`: when feedback is worth a training."""

    min_corrections: int = Field(ge=1, description="corrected documents that are worth a training at once")
    min_error_rate: float = Field(ge=0, le=1, description="corrected / reviewed documents, together with the above")
    max_days: float = Field(gt=0, description="after this long one corrected document is enough")


class Cursor(BaseModel):
    """How far feedback was used: the last sequence number of the last segment, and when that segment ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen: int = 0
    since: AwareDatetime | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; an absent or unreadable one starts over, which repeats no run."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()

    def dump(self) -> str:
        """The form to store: `{"seen": 12, "since": "..."}`."""
        return self.model_dump_json()


@dataclass
class Segment:
    """Feedback since the last retraining; documents are counted, so saying a thing twice changes nothing."""

    corrected: set[str] = field(default_factory=set)
    reviewed: set[str] = field(default_factory=set)
    correction_ids: list[str] = field(default_factory=list)
    subtypes: Counter[str] = field(default_factory=Counter)
    last_sequence: int = 0
    last_moment: datetime | None = None

    def add(self, event: FeedbackEvent) -> None:
        """Count one feedback."""
        self.reviewed.add(event.document_id)
        if event.kind == "correction":
            if event.document_id not in self.corrected:
                self.subtypes["/".join(filter(None, (event.document_type, event.document_subtype)))] += 1
            self.corrected.add(event.document_id)
            self.correction_ids.append(event.id)
        self.last_sequence = event.sequence
        self.last_moment = event.recorded_at

    @property
    def error_rate(self) -> float:
        """Corrected / reviewed documents; 0 where nothing was reviewed. Silence is not approval."""
        return len(self.corrected) / len(self.reviewed) if self.reviewed else 0.0


@dataclass(frozen=True, kw_only=True)
class RetrainingRun:
    """A retraining that the policy asks for."""

    run_key: str
    reason: str
    corrections: int
    reviewed: int
    error_rate: float
    first_sequence: int  # feedback after this number ...
    last_sequence: int  # ... up to and including this one made the decision
    subtypes: dict[str, int]  # corrected documents by type/subtype


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What one look at the feedback decided: a run or none, the cursor to store, and why, in a sentence or two."""

    run: RetrainingRun | None
    cursor: Cursor
    explanation: str


def look(graph: GraphClient, cursor: str | None, *, now: datetime, config: RetrainingConfig) -> Tick:
    """Read the feedback after a stored cursor and decide."""
    position = Cursor.parse(cursor)
    return decide(feedback_after(graph, position.seen), position, now=now, config=config)


def decide(events: Iterable[FeedbackEvent], cursor: Cursor, *, now: datetime, config: RetrainingConfig) -> Tick:
    """Cut the next segment off the stream, if one is complete.

    Args:
        events: Feedback with sequence numbers above `cursor.seen`, in order; consumed only as far as needed.
        cursor: Where the last segment ended.
        now: The present.
        config: The policy.
    """
    segment, since = Segment(), cursor.since
    for event in events:
        since = since or event.recorded_at
        deadline = since + timedelta(days=config.max_days)
        if segment.corrected and event.recorded_at >= deadline:
            return _run(segment, cursor, since, ends=deadline, config=config)
        segment.add(event)
        if _is_full(segment, config):
            return _run(segment, cursor, since, ends=event.recorded_at, config=config)
        if segment.corrected and event.recorded_at >= deadline:
            return _run(segment, cursor, since, ends=event.recorded_at, config=config)
    if since is not None and segment.corrected and now >= since + timedelta(days=config.max_days):
        deadline = since + timedelta(days=config.max_days)
        return _run(segment, cursor, since, ends=deadline, config=config)
    return Tick(run=None, cursor=Cursor(seen=cursor.seen, since=since), explanation=_waiting(segment, since, config))


def _is_full(segment: Segment, config: RetrainingConfig) -> bool:
    return len(segment.corrected) >= config.min_corrections and segment.error_rate >= config.min_error_rate


def _run(segment: Segment, cursor: Cursor, since: datetime, *, ends: datetime, config: RetrainingConfig) -> Tick:
    corrections = len(segment.corrected)
    if _is_full(segment, config):
        why = (
            f"{corrections} corrected documents (needed {config.min_corrections}) at an error rate of "
            f"{segment.error_rate:.1%} (needed {config.min_error_rate:.1%})"
        )
    else:
        why = f"{corrections} corrected documents (needed 1) and {config.max_days:g} days passed"
    reason = f"{why} since {_moment(since)}."
    run = RetrainingRun(
        run_key=_run_key(segment.correction_ids),
        reason=reason,
        corrections=corrections,
        reviewed=len(segment.reviewed),
        error_rate=segment.error_rate,
        first_sequence=cursor.seen,
        last_sequence=segment.last_sequence,
        subtypes=dict(segment.subtypes.most_common()),
    )
    return Tick(run=run, cursor=Cursor(seen=segment.last_sequence, since=ends), explanation=f"Retraining: {reason}")


def _run_key(correction_ids: Iterable[str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(set(correction_ids))).encode()).hexdigest()
    return f"retrain-{digest[:24]}"


def _waiting(segment: Segment, since: datetime | None, config: RetrainingConfig) -> str:
    if since is None:
        return (
            "No retraining: nobody gave feedback yet. It needs "
            f"{config.min_corrections} corrected documents at an error rate of {config.min_error_rate:.0%}, or one "
            f"corrected document and {config.max_days:g} days. Corrections come from reviewers (`sap-llm feedback`)."
        )
    missing = max(0, config.min_corrections - len(segment.corrected))
    sooner = f"{missing} more corrected documents" if missing else f"an error rate of {config.min_error_rate:.0%}"
    deadline = _moment(since + timedelta(days=config.max_days))
    later = f"waiting until {deadline}" if segment.corrected else f"one corrected document and waiting until {deadline}"
    return (
        f"No retraining: since {_moment(since)} people reviewed {len(segment.reviewed)} documents and corrected "
        f"{len(segment.corrected)} (error rate {segment.error_rate:.1%}). Needed: {config.min_corrections} corrected "
        f"ones at an error rate of {config.min_error_rate:.0%}, or one and {config.max_days:g} days. "
        f"What would change it: {sooner}, or {later}."
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
