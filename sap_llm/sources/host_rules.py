"""What a host asks of its visitors: robots.txt, the time between requests, and pauses that it demands.

Belongs here: rules per host, shared by all threads that talk to it. Sending requests is `metadata_fetch`.

Sources: RFC 9309 (robots.txt; redirects and errors in section 2.3.1), RFC 9110 section 10.2.3 (Retry-After).
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.robotparser import RobotFileParser


class HostRules:
    """Rules of one host; the first caller loads its robots.txt, the others wait for it."""

    def __init__(self, origin: str, agent: str, load: Callable[[str], tuple[int, str]]) -> None:
        """Describe the host.

        Args:
            origin: `https://host:port`.
            agent: Name by which robots.txt may address us.
            load: From the address of robots.txt to status and text; whatever it raises, all callers get.
        """
        self._origin, self._agent, self._load = origin, agent, load
        self._lock, self._loading = threading.Lock(), threading.Lock()  # loading itself waits and holds
        self._robots: RobotFileParser | None = None
        self._error: Exception | None = None
        self._interval = 0.0
        self._next = 0.0

    def is_allowed(self, url: str) -> bool:
        """Whether robots.txt lets us read `url`; raises what loading it raised."""
        with self._loading:
            if self._robots is None and self._error is None:
                try:
                    self._robots = self._read()
                except Exception as error:
                    self._error = error
                    raise
        if self._error is not None:
            raise self._error
        assert self._robots is not None
        return self._robots.can_fetch(self._agent, url)

    def wait(self, stopping: threading.Event) -> None:
        """Sleep until the next request may start; slots are handed out one after the other."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        stopping.wait(start - now)

    def hold(self, seconds: float) -> None:
        """Let no request of ours start before so many seconds have passed."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _read(self) -> RobotFileParser:
        status, text = self._load(f"{self._origin}/robots.txt")
        robots = RobotFileParser()
        if status in (401, 403):
            robots.parse(["User-agent: *", "Disallow: /"])
        else:  # any other 4xx means that there are no rules
            robots.parse(text.splitlines() if status == 200 else [])
        rate = robots.request_rate(self._agent)
        delay = float(robots.crawl_delay(self._agent) or 0)
        self._interval = max(delay, rate.seconds / rate.requests if rate and rate.requests else 0.0)
        return robots


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, given as number or as date; None without a usable one."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
