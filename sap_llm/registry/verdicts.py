"""Verdicts of gates about exact data versions, and the overrides that people record.

Belongs here: keeping and demanding verdicts, `verdicts/<data version>/<gate>.json`. Which gates a dataset has is
`gates`, how they judge is `learning.judges`.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sap_llm.registry.files import RegistryFiles
from sap_llm.schema.clock import Clock, SystemClock
from sap_llm.schema.errors import ConfigurationError, GateClosedError

Number = float | int | str
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Verdict(BaseModel):
    """What one gate found about one data version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str
    data_version: str
    passed: bool
    measured: dict[str, Number] = Field(description="what was measured, by name")
    required: dict[str, Number] = Field(description="what it had to be, by the same names")
    explanation: str = Field(description="one sentence for a person")
    examples: list[dict[str, str]] = Field(default=[], description="rows that failed: where each is, and its value")
    report: str = Field(default="", description="path or URL of a page with everything, where there is one")
    created_at: AwareDatetime


class Override(BaseModel):
    """A person's decision to let a data version pass a closed gate for a while."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str
    data_version: str
    who: str = Field(min_length=1, description="as stated; nobody verified it")
    why: str = Field(min_length=1)
    until: AwareDatetime
    created_at: AwareDatetime


class VerdictStore:
    """All verdicts and overrides under one root; any number of processes may read and write."""

    def __init__(self, root: str | Path, *, clock: Clock | None = None, **storage_options: Any) -> None:
        self.clock: Clock = clock or SystemClock()
        self.files = RegistryFiles(root, **storage_options)

    def record(self, verdict: Verdict) -> None:
        """Keep a verdict; a later one of the same gate about the same data version replaces it."""
        self.files.write(_path(verdict.data_version, verdict.gate), verdict.model_dump_json(indent=2))

    def find(self, data_version: str, gate: str) -> Verdict | None:
        """The verdict, None if the gate never judged this data version.

        Raises:
            GateClosedError: The file is damaged; a damaged verdict opens nothing.
        """
        path = _path(data_version, gate)
        text = self.files.read(path)
        if text is None:
            return None
        try:
            verdict = Verdict.model_validate_json(text)
        except ValidationError as error:
            raise GateClosedError(
                f"the verdict of gate {gate} cannot be read ({error.error_count()} errors)",
                where=f"{self.files.root_url}/{path}",
                remedy="Judge the data version again, which replaces the file.",
            ) from error
        if (verdict.data_version, verdict.gate) != (data_version, gate):
            raise GateClosedError(
                f"the file holds the verdict of {verdict.gate} about {verdict.data_version}",
                where=f"{self.files.root_url}/{path}",
                remedy="Judge the data version again, which replaces the file.",
            )
        return verdict

    def override(self, data_version: str, gate: str, *, who: str, why: str, until: datetime) -> Override:
        """Record that a closed gate is to be passed until a date; kept for ever, honoured until then.

        Raises:
            ConfigurationError: `until` lies in the past, or who or why is empty.
        """
        now = self.clock.now()
        if until <= now:
            raise ConfigurationError("an override must end in the future", where=f"until={until.isoformat()}")
        try:
            entry = Override(gate=gate, data_version=data_version, who=who, why=why, until=until, created_at=now)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(f"{first['loc'][0]}: {first['msg']}", where="override") from error
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.files.write(f"{_folder(data_version, gate)}/{stamp}.json", entry.model_dump_json(indent=2))
        return entry

    def overrides(self, data_version: str, gate: str) -> list[Override]:
        """Every override that was ever recorded, oldest first."""
        return self._overrides(_folder(data_version, gate))

    def all_overrides(self) -> list[Override]:
        """Every override of every gate and data version, oldest first."""
        return sorted(self._overrides("verdicts/*/overrides/*"), key=lambda entry: entry.created_at)

    def _overrides(self, folder: str) -> list[Override]:
        found = []
        for path in self.files.list(folder):
            try:
                found.append(Override.model_validate_json(self.files.read(path) or ""))
            except ValidationError as error:
                raise GateClosedError(
                    f"an override cannot be read ({error.error_count()} errors); it opens nothing",
                    where=f"{self.files.root_url}/{path}",
                    remedy="Remove the file, and record the override again.",
                ) from error
        return found

    def standing_override(self, data_version: str, gate: str) -> Override | None:
        """The override that holds now, None if there is none."""
        now = self.clock.now()
        return next((entry for entry in reversed(self.overrides(data_version, gate)) if entry.until > now), None)

    def require(self, data_version: str, gates: Iterable[str], *, consumer: str) -> dict[str, Override | None]:
        """Refuse unless each gate passed exactly this data version, or a standing override lets it through.

        Args:
            data_version: Of the dataset that is about to be consumed.
            gates: Names of the gates that it must have passed.
            consumer: Who is about to consume it, for the message.

        Returns:
            By gate, the override that was used, None where the gate itself is open.

        Raises:
            GateClosedError: For the first closed gate: what was measured, what is required, how to open it and how to
                override it.
        """
        used: dict[str, Override | None] = {}
        for gate in gates:
            verdict = self.find(data_version, gate)
            is_open = verdict is not None and verdict.passed
            used[gate] = None if is_open else self.standing_override(data_version, gate)
            if not is_open and used[gate] is None:
                raise self._closed(verdict, gate, data_version, consumer)
        return used

    def _closed(self, verdict: Verdict | None, gate: str, data_version: str, consumer: str) -> GateClosedError:
        if verdict is None:
            found = f"it has no verdict about data version {data_version}"
            opening = "Run the check of that gate on this version (materialise the asset with its checks)."
        else:
            found = (
                f"it did not pass data version {data_version} on {verdict.created_at:%Y-%m-%d %H:%M} UTC: "
                f"{verdict.explanation} (measured {_numbers(verdict.measured)}; "
                f"required {_numbers(verdict.required)})"
            )
            opening = "Improve what was measured and build and judge a new version."
        expired = self.overrides(data_version, gate)[-1:]
        ended = f" The override by {expired[0].who} ended {expired[0].until:%Y-%m-%d %H:%M} UTC." if expired else ""
        return GateClosedError(
            f"{consumer} is refused, because the gate {gate} is closed: {found}.{ended}",
            where=f"gate {gate}",
            remedy=f"{opening} To let this version through all the same, record who, why and until when: "
            f"`sap-llm gate override {data_version} {gate} --who NAME --why REASON --until DATE`.",
        )


def _path(data_version: str, gate: str) -> str:
    return f"verdicts/{_safe(data_version)}/{_safe(gate)}.json"


def _folder(data_version: str, gate: str) -> str:
    return f"verdicts/{_safe(data_version)}/overrides/{_safe(gate)}"


def _safe(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot name a gate or a data version", remedy="Use letters, digits, . _ -")
    return name


def _numbers(values: dict[str, Number]) -> str:
    return (
        ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
        )
        or "nothing"
    )
