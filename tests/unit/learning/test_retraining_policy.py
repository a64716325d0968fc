"""The retraining policy: the two rules, and exactly one run for the same corrections whenever one looks."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.learning.retraining import Cursor, RetrainingConfig, Tick, decide
from sap_llm.pmg.feedback import FeedbackEvent, Kind

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
CONFIG = RetrainingConfig(min_corrections=500, min_error_rate=0.10, max_days=14)
SUBTYPES = ("STANDARD", "FRAMEWORK", "CONSIGNMENT", "SERVICE", None)


def event(
    sequence: int, kind: Kind = "correction", document: str | None = None, at: datetime | None = None
) -> FeedbackEvent:
    return FeedbackEvent(
        sequence=sequence,
        id=f"fb-{sequence}",
        kind=kind,
        document_id=document or f"doc-{sequence}",
        document_type="PURCHASE_ORDER",
        document_subtype=SUBTYPES[sequence % len(SUBTYPES)],
        recorded_at=at or START + timedelta(minutes=sequence),
    )


def tick(events: list[FeedbackEvent], cursor: Cursor, now: datetime, config: RetrainingConfig = CONFIG) -> Tick:
    visible = [entry for entry in events if entry.sequence > cursor.seen and entry.recorded_at <= now]
    return decide(visible, cursor, now=now, config=config)


def test_enough_corrections_at_enough_errors_ask_for_a_run() -> None:
    events = [event(number) for number in range(1, 501)]
    before = tick(events[:499], Cursor(), START + timedelta(days=1))
    assert before.run is None
    assert "1 more corrected document" in before.explanation
    assert "499" in before.explanation
    found = tick(events, Cursor(), START + timedelta(days=1))
    assert found.run is not None
    assert (found.run.corrections, found.run.reviewed, found.run.last_sequence) == (500, 500, 500)
    assert found.cursor.seen == 500
    assert "500 corrected documents (needed 500)" in found.explanation


def test_corrections_spread_over_subtypes_count_together() -> None:
    found = tick([event(number) for number in range(1, 501)], Cursor(), START + timedelta(days=1))
    assert found.run is not None
    assert found.run.subtypes == {
        "PURCHASE_ORDER/FRAMEWORK": 100,
        "PURCHASE_ORDER/CONSIGNMENT": 100,
        "PURCHASE_ORDER/SERVICE": 100,
        "PURCHASE_ORDER": 100,
        "PURCHASE_ORDER/STANDARD": 100,
    }


def test_correcting_a_document_again_does_not_count_twice() -> None:
    events = [event(number, document=f"doc-{number % 400}") for number in range(1, 1200)]
    found = tick(events, Cursor(), START + timedelta(days=2))
    assert found.run is None
    assert "corrected 400 " in found.explanation


def test_few_errors_among_many_reviews_do_not_ask() -> None:
    events = [event(number, "correction" if number % 11 == 0 else "approval") for number in range(1, 6001)]
    found = tick(events, Cursor(), START + timedelta(days=5))
    assert found.run is None
    assert "error rate 9.1%" in found.explanation
    assert "an error rate of 10%" in found.explanation


def test_one_correction_and_two_weeks_are_enough() -> None:
    events = [event(1, "approval"), event(2)]
    since = events[0].recorded_at
    assert tick(events, Cursor(), since + timedelta(days=13, hours=23)).run is None
    found = tick(events, Cursor(), since + timedelta(days=14))
    assert found.run is not None
    assert "14 days" in found.run.reason
    assert found.cursor == Cursor(seen=2, since=since + timedelta(days=14))


def test_approvals_alone_never_ask_and_a_late_first_correction_does_at_once() -> None:
    events = [event(number, "approval") for number in range(1, 100)]
    assert tick(events, Cursor(), START + timedelta(days=60)).run is None
    late = event(100, at=START + timedelta(days=50))
    found = tick([*events, late], Cursor(), START + timedelta(days=60))
    assert found.run is not None
    assert found.run.corrections == 1


def test_no_feedback_explains_itself() -> None:
    found = tick([], Cursor(), START)
    assert found.run is None
    assert "nobody gave feedback" in found.explanation


def test_ticks_restart_and_cursor_reset_ask_for_the_same_run() -> None:
    events = [event(number) for number in range(1, 531)]
    first = tick(events, Cursor(), START + timedelta(days=1))
    assert first.run is not None
    second = tick(events, first.cursor, START + timedelta(days=1, minutes=1))
    assert second.run is None, "the 30 corrections after the segment wait for more"
    restarted = tick(events, Cursor.parse(first.cursor.dump()), START + timedelta(days=2))
    assert restarted.run is None
    reset = tick(events, Cursor.parse("garbage"), START + timedelta(days=3))
    assert reset.run is not None
    assert reset.run.run_key == first.run.run_key, "the orchestrator starts a key once"


@st.composite
def histories(draw: st.DrawFn) -> list[FeedbackEvent]:
    gaps = draw(st.lists(st.integers(0, 60), min_size=1, max_size=80))
    hours, events = 0, []
    for sequence, gap in enumerate(gaps, start=1):
        hours += gap
        kind: Kind = draw(st.sampled_from(("correction", "approval", "rejection")))
        document = f"doc-{draw(st.integers(0, 40))}"
        events.append(event(sequence, kind, document, START + timedelta(hours=hours)))
    return events


def replay(events: list[FeedbackEvent], config: RetrainingConfig, *, moments: list[datetime]) -> list[str]:
    keys, cursor = [], Cursor()
    for now in moments:
        for _ in range(len(events) + 1):
            found = tick(events, cursor, now, config)
            cursor = Cursor.parse(found.cursor.dump())
            if found.run is None:
                break
            keys.append(found.run.run_key)
    return keys


@settings(max_examples=150, deadline=None)
@given(events=histories(), pauses=st.lists(st.integers(1, 400), min_size=1, max_size=30), bar=st.integers(1, 8))
def test_runs_do_not_depend_on_when_somebody_looks(events: list[FeedbackEvent], pauses: list[int], bar: int) -> None:
    config = RetrainingConfig(min_corrections=bar, min_error_rate=0.3, max_days=14)
    end = events[-1].recorded_at + timedelta(days=15)
    moments, now = [], START
    for pause in pauses:
        now += timedelta(hours=pause)
        moments.append(now)
    often = replay(events, config, moments=[*(moment for moment in moments if moment < end), end])
    once = replay(events, config, moments=[end])
    assert often == once
    assert len(set(once)) == len(once), "no two segments hold the same corrections"
