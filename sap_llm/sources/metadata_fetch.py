"""Downloads documents about SAP's services: at most ten at once, politely, again after trouble, not when unchanged.

Belongs here: requests, redirects, retries and what a failure is called. What a host permits is `host_rules`, what is
kept on disk is `metadata_cache`, reading a document is `edmx` or `help_html`.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.schema.clock import Clock
from sap_llm.sources.corpus import Fault, UnusableError
from sap_llm.sources.edmx import MAX_BYTES, parse_edmx
from sap_llm.sources.help_html import MAX_BYTES as MAX_PAGE_BYTES
from sap_llm.sources.help_html import parse_html
from sap_llm.sources.host_rules import HostRules, retry_after_seconds
from sap_llm.sources.metadata_cache import Cached, MetadataCache
from sap_llm.storage.build import Progress, silent

if TYPE_CHECKING:
    import httpx

MAX_CONCURRENT = 10
_ROBOTS_BYTES = 512_000  # RFC 9309, section 2.5: at least 500 KiB are read, the rest may be ignored
_REDIRECTS = 5
_PROGRESS_EVERY = 25
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_BY_HAND = "Download the document by hand and give its folder."


class FetchConfig(BaseModel):
    """How servers are asked; part of `configs/<profile>/sap_knowledge.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_offline: bool = Field(default=False, description="take documents from the cache alone")
    max_concurrent: int = Field(default=MAX_CONCURRENT, ge=1, le=MAX_CONCURRENT, description="requests at once")
    attempts: int = Field(default=4, ge=1, description="of one request, the first included")
    retry_seconds: float = Field(default=1.0, ge=0, description="before the second attempt; doubles with each")
    max_wait_seconds: float = Field(default=120.0, ge=0, description="a longer Retry-After ends the attempts")
    timeout_seconds: float = Field(default=30.0, gt=0, description="for one answer, from connecting to its last byte")
    max_bytes: int = Field(default=MAX_BYTES, ge=1, description="of one document")
    user_agent: str = Field(default="sap-llm", description="name by which robots.txt may address us")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A kind of document.

    Attributes:
        accept: Media type that servers are asked for.
        suffix: Of its files in the cache.
        check: Raises `UnusableError` for content (with its Content-Type and a limit in bytes) of another kind, so that
            a server's rubbish never replaces a good copy.
    """

    accept: str
    suffix: str
    check: Callable[[bytes, str, int], object]


METADATA = Wanted(
    accept="application/xml",
    suffix=".edmx",
    check=lambda content, _, max_bytes: parse_edmx(content, max_bytes=max_bytes),
)
PAGES = Wanted(
    accept="text/html, application/xhtml+xml",
    suffix=".html",
    check=lambda content, kind, most: parse_html(content, content_type=kind, max_bytes=min(most, MAX_PAGE_BYTES)),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one address: a document, a fault, or both where the cache stood in for a failing server."""

    url: str
    document: Cached | None = None
    fault: Fault | None = None


class FetchError(Exception):
    """One request that failed: short code, sentence and remedy; `wait_seconds` where the server named a pause."""

    def __init__(
        self, reason: str, what: str, *, remedy: str, is_transient: bool = False, wait_seconds: float | None = None
    ) -> None:
        super().__init__(what)
        self.reason, self.what, self.remedy = reason, what, remedy
        self.is_transient, self.wait_seconds = is_transient, wait_seconds


def fetch_documents(
    urls: Iterable[str],
    *,
    wanted: Wanted = METADATA,
    cache: MetadataCache,
    config: FetchConfig,
    clock: Clock,
    progress: Progress = silent,
) -> list[Outcome]:
    """Bring documents into the cache; one outcome per distinct address, in the order given.

    Args:
        urls: Addresses, http or https.
        wanted: What must be found there.
        cache: Where documents are kept between runs.
        config: Limits and manners.
        clock: For pauses that servers give as a date.
        progress: Told after every document.
    """
    distinct = list(dict.fromkeys(urls))
    if config.is_offline:
        return [_offline(url, cache.find(url)) for url in distinct]
    outcomes = []
    with _Fetcher(wanted, cache, config, clock) as fetcher, ThreadPoolExecutor(config.max_concurrent) as pool:
        try:
            for outcome in pool.map(fetcher.fetch, distinct):
                outcomes.append(outcome)
                if len(outcomes) % _PROGRESS_EVERY == 0 or len(outcomes) == len(distinct):
                    progress("sap_knowledge: fetching", done=len(outcomes), total=len(distinct))
        except BaseException:
            fetcher.stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def _offline(url: str, cached: Cached | None) -> Outcome:
    if cached is not None:
        return Outcome(url=url, document=cached)
    error = FetchError("not_cached", "not in the cache", remedy="Fetch it once with fetch.is_offline: false.")
    return Outcome(url=url, fault=_fault(url, error))


def _fault(url: str, error: FetchError, note: str = "") -> Fault:
    what = error.what if error.what.endswith(".") else f"{error.what}."
    return Fault(record=url, source=url, reason=error.reason, detail=" ".join(filter(None, (what, error.remedy, note))))


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """A final answer: its status, content, validators."""

    status: int
    content: bytes = b""
    etag: str = ""
    last_modified: str = ""
    content_type: str = ""


class _Fetcher:
    """One run over many addresses: a connection pool, and the rules of every host met."""

    def __init__(self, wanted: Wanted, cache: MetadataCache, config: FetchConfig, clock: Clock) -> None:
        self.stopping = threading.Event()
        self._wanted, self._cache, self._config, self._clock = wanted, cache, config, clock
        self._hosts: dict[str, HostRules] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        import httpx

        self._client = httpx.Client(
            headers={"User-Agent": self._config.user_agent, "Accept": self._wanted.accept},
            timeout=self._config.timeout_seconds,
            limits=httpx.Limits(max_connections=self._config.max_concurrent),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def fetch(self, url: str) -> Outcome:
        """The outcome of one address; never raises for what a server does."""
        cached = self._cache.find(url)
        try:
            return Outcome(url=url, document=self._document(url, cached))
        except FetchError as error:
            note = "" if cached is None else "The copy in the cache was used."
            return Outcome(url=url, document=cached, fault=_fault(url, error, note))

    def _document(self, url: str, cached: Cached | None) -> Cached:
        answer = self._retried(url, headers=cached.conditions if cached else {})
        if answer.status == 304 and cached is not None:
            return cached
        try:
            self._wanted.check(answer.content, answer.content_type, self._config.max_bytes)
        except UnusableError as error:
            raise FetchError(error.reason, error.what, remedy=error.remedy) from error
        return self._cache.put(
            url,
            answer.content,
            etag=answer.etag,
            last_modified=answer.last_modified,
            content_type=answer.content_type,
        )

    def _retried(self, url: str, *, headers: Mapping[str, str], is_robots: bool = False) -> _Answer:
        for attempt in range(1, self._config.attempts + 1):
            try:
                return self._followed(url, headers=headers, is_robots=is_robots)
            except FetchError as error:
                if not error.is_transient or attempt == self._config.attempts or self.stopping.is_set():
                    raise
                if error.wait_seconds is None:
                    self.stopping.wait(self._pause(url, attempt))
                elif error.wait_seconds > self._config.max_wait_seconds:
                    raise FetchError(
                        "throttled",
                        f"the server asks to wait {error.wait_seconds:.0f} s",
                        remedy="Run again later, or raise fetch.max_wait_seconds.",
                    ) from error
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, url: str, attempt: int) -> float:
        """Doubles with every attempt; spread by up to a half, so that many addresses do not come back at once."""
        spread = hashlib.sha256(f"{url} {attempt}".encode()).digest()[0] / 510
        pause: float = self._config.retry_seconds * 2 ** (attempt - 1) * (1 + spread)
        return min(pause, self._config.max_wait_seconds)

    def _followed(self, url: str, *, headers: Mapping[str, str], is_robots: bool) -> _Answer:
        for _ in range(_REDIRECTS + 1):
            rules = self._rules(url)
            if not is_robots and not rules.is_allowed(url):
                raise FetchError("robots", "robots.txt of the host forbids it", remedy=_BY_HAND)
            rules.wait(self.stopping)
            answer, location = self._sent(url, headers, rules, is_robots=is_robots)
            if location is None:
                return answer
            url = _redirected(url, location)
        raise FetchError("redirects", f"more than {_REDIRECTS} redirects", remedy="Give the final address.")

    def _rules(self, url: str) -> HostRules:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError("bad_url", "not an http or https address", remedy="Correct the list of urls.")
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            return self._hosts.setdefault(origin, HostRules(origin, self._config.user_agent, self._robots))

    def _robots(self, url: str) -> tuple[int, str]:
        try:
            answer = self._retried(url, headers={}, is_robots=True)
        except FetchError as error:  # RFC 9309, section 2.3.1.4: unreachable rules forbid everything
            raise FetchError(error.reason, f"robots.txt of the host: {error.what}", remedy=error.remedy) from error
        return answer.status, answer.content.decode("utf-8", errors="replace")

    def _sent(
        self, url: str, headers: Mapping[str, str], rules: HostRules, *, is_robots: bool
    ) -> tuple[_Answer, str | None]:
        """One request; the answer, and where it is redirected to."""
        import httpx

        try:
            with self._client.stream("GET", url, headers=dict(headers)) as response:
                if response.has_redirect_location:
                    return _Answer(status=response.status_code), response.headers["Location"]
                is_absent = is_robots and 400 <= response.status_code < 500 and response.status_code not in _TRANSIENT
                if response.status_code == 304 or is_absent:
                    return _Answer(status=response.status_code), None
                if response.status_code != 200:
                    raise self._refused(response, rules)
                content = self._read(response, _ROBOTS_BYTES if is_robots else self._config.max_bytes, is_robots)
                said = [response.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Type")]
                answer = _Answer(status=200, content=content, etag=said[0], last_modified=said[1], content_type=said[2])
                return answer, None
        except httpx.TimeoutException as error:
            raise self._too_slow() from error
        except httpx.InvalidURL as error:
            raise FetchError("bad_url", f"not an address ({error})", remedy="Correct the list of urls.") from error
        except httpx.HTTPError as error:
            raise FetchError(
                "unreachable",
                f"the server cannot be reached or broke off ({type(error).__name__})",
                remedy=f"Check address and network. {_BY_HAND}",
                is_transient=True,
            ) from error

    def _read(self, response: "httpx.Response", limit: int, is_cut: bool) -> bytes:
        """The body, unpacked piece by piece, so that neither a long nor a slow one holds us."""
        deadline = time.monotonic() + self._config.timeout_seconds
        content = bytearray()
        for piece in response.iter_bytes():
            content += piece
            if len(content) > limit:
                if is_cut:
                    break
                raise FetchError(
                    "too_large",
                    f"the document is longer than {limit:,} bytes",
                    remedy="Raise fetch.max_bytes, or leave the service out.",
                )
            if time.monotonic() > deadline:
                raise self._too_slow()
        return bytes(content[:limit])

    def _too_slow(self) -> FetchError:
        return FetchError(
            "timeout",
            f"no complete answer within {self._config.timeout_seconds:g} s",
            remedy=f"Raise fetch.timeout_seconds. {_BY_HAND}",
            is_transient=True,
        )

    def _refused(self, response: "httpx.Response", rules: HostRules) -> FetchError:
        status = response.status_code
        if status in (401, 403):
            return FetchError("refused", f"the server refuses access (HTTP {status})", remedy=_BY_HAND)
        if status in (404, 410):
            return FetchError("not_found", f"no such document (HTTP {status})", remedy="Correct the list of urls.")
        wait = retry_after_seconds(response.headers.get("Retry-After"), self._clock.now())
        if wait is not None and wait <= self._config.max_wait_seconds:
            rules.hold(wait)
        return FetchError(
            "throttled" if status == 429 else "http_error",
            f"the server answers HTTP {status}",
            remedy=f"Run again later. {_BY_HAND}",
            is_transient=status in _TRANSIENT,
            wait_seconds=wait,
        )


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if url.startswith("https:") and not target.startswith("https:"):
        raise FetchError(
            "redirects", "redirected from https to an unencrypted address", remedy="Give the final address."
        )
    return target
