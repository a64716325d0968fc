"""The only source of the present time.

Every stage takes a `Clock`, so tests and re-runs are reproducible. Formatting of dates found in documents does not
belong here (see `modeling.normalise`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Anything that can say what time it is, in UTC."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC datetime."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC datetime."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class FrozenClock:
    """A clock that stands still, for tests and for re-running a recorded build."""

    moment: datetime

    def now(self) -> datetime:
        """Return the moment given at construction."""
        return self.moment
