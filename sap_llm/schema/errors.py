"""Errors that a user of SAP_LLM can act upon.

Belongs here: exception types whose message names what was wrong, where (file, row, field) and the remedy. Programmer
mistakes stay `assert` or `ValueError` where they happen.
"""


class SapLlmError(Exception):
    """Base of every error that is meant for a user: `what`, `where` it was met and the `remedy`.

    The message is one readable sentence group; front ends print it without a traceback.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        sentence = what if what.endswith((".", "!", "?")) else f"{what}."
        super().__init__(" ".join(part for part in (f"{where}: {sentence}" if where else sentence, remedy) if part))


class ConfigurationError(SapLlmError):
    """A profile, override or environment variable has a value that cannot be used."""


class DatasetNotFoundError(SapLlmError):
    """A dataset version was asked for that no manifest declares complete."""


class DamagedDatasetError(SapLlmError):
    """A dataset version does not hold what its manifest promises."""


class VersionControlError(SapLlmError):
    """DVC is missing, busy with another writer, or refused what was asked of it."""


class SourceError(SapLlmError):
    """An upstream system or file cannot be read as a whole (single bad records go to quarantine instead)."""


class UnreadableDocumentError(SapLlmError):
    """A document (PDF, image, text) cannot be turned into pages and words."""


class GateClosedError(SapLlmError):
    """A gate has no passing verdict for the exact data version that was about to be consumed."""


class MissingToolError(SapLlmError):
    """A program or optional package that this operation needs is not installed."""
