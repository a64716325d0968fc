"""A console logger for people who watch a run in a terminal: one plain line per thing that happened.

Belongs here: formatting of Dagster's log records. What is worth saying is said by the stages' progress.
"""

import logging
import sys

import dagster as dg

_SHOWN = {
    dg.DagsterEventType.STEP_START: "started",
    dg.DagsterEventType.STEP_FAILURE: "FAILED",
}
_NOISE = "Dependencies for step"  # one line for each step behind the failed one


class _PlainFormatter(logging.Formatter):
    """`asset | message`; the event's own text where Dagster's says less."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        step = (meta.get("step_key") or "run").replace(".", " ")
        event = meta.get("dagster_event")
        text = _SHOWN[event.event_type] if event is not None else meta.get("orig_message", record.getMessage())
        return f"  {step:<32} {text}"


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    meta = getattr(record, "dagster_meta", {})
    if (event := meta.get("dagster_event")) is not None:
        return event.event_type in _SHOWN
    return record.levelno >= logging.INFO and not str(meta.get("orig_message", "")).startswith(_NOISE)


@dg.logger(config_schema={"quiet": dg.Field(bool, default_value=False)}, description="One plain line per message.")
def progress_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Writes to standard output; choose it in run config with `loggers: {progress: {}}`, silent with `quiet: true`."""
    # not getLogger: each run has its own handler, and nothing may propagate to the root
    logger = logging.Logger("sap_llm.progress", level=logging.DEBUG)  # noqa: LOG001
    if context.logger_config["quiet"]:
        logger.addHandler(logging.NullHandler())
        return logger
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_PlainFormatter())
    handler.addFilter(_is_worth_a_line)
    logger.addHandler(handler)
    return logger
