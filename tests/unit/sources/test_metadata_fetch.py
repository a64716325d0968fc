"""Fetching from a real HTTP server that fails, throttles, redirects, forbids, hangs, lies and answers 304."""

import gzip
import itertools
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from sap_llm.schema.clock import FrozenClock
from sap_llm.sources.host_rules import retry_after_seconds
from sap_llm.sources.metadata_cache import MetadataCache
from sap_llm.sources.metadata_fetch import MAX_CONCURRENT, FetchConfig, Outcome, fetch_documents
from tests.support.metadata_site import Handler, Server, document, says

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
QUICK = FetchConfig(retry_seconds=0.01, timeout_seconds=5)


@pytest.fixture
def cache(tmp_path: Path) -> MetadataCache:
    return MetadataCache(tmp_path / "cache")


def _fetch(urls: list[str], cache: MetadataCache, config: FetchConfig = QUICK) -> list[Outcome]:
    return fetch_documents(urls, cache=cache, config=config, clock=FrozenClock(NOW))


def _reason(outcome: Outcome) -> str | None:
    return outcome.fault.reason if outcome.fault else None


def _content(outcome: Outcome) -> bytes:
    assert outcome.document is not None
    return outcome.document.path.read_bytes()


def test_a_server_that_fails_twice_is_asked_three_times(site: Server, cache: MetadataCache) -> None:
    site.answers["/a"] = lambda at, count: at.say(503) if count < 3 else at.say(200, document("a"))
    site.answers["/down"] = says(500)
    good, bad = _fetch([site.url("/a"), site.url("/down")], cache)
    assert (_content(good), _reason(good)) == (document("a"), None)
    assert (bad.document, _reason(bad)) == (None, "http_error")
    assert bad.fault is not None
    assert "HTTP 500" in bad.fault.detail
    assert bad.fault.record == site.url("/down")
    assert site.counts() == {"/robots.txt": 1, "/a": 3, "/down": QUICK.attempts}
    times = [moment for path, moment in site.asked if path == "/down"]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[0] >= QUICK.retry_seconds
    assert pauses[2] >= 4 * QUICK.retry_seconds


def test_a_throttling_server_is_left_alone_for_as_long_as_it_asks(site: Server, cache: MetadataCache) -> None:
    site.answers["/t"] = lambda at, count: at.say(429, Retry_After="1") if count == 1 else at.say(200, document("t"))
    site.answers["/long"] = says(429, Retry_After="3600")
    (outcome,) = _fetch([site.url("/t")], cache)
    assert _content(outcome) == document("t")
    first, second = (moment for path, moment in site.asked if path == "/t")
    assert second - first >= 0.99
    (outcome,) = _fetch([site.url("/long")], cache)
    assert _reason(outcome) == "throttled"
    assert site.counts()["/long"] == 1, "an hour is too long to wait"


def test_a_pause_holds_for_every_address_of_the_host(site: Server, cache: MetadataCache) -> None:
    site.answers["/t"] = lambda at, count: at.say(503, Retry_After="1") if count == 1 else at.say(200, document("t"))
    site.answers["/other"] = says(200, document("other"))
    _fetch([site.url("/t"), site.url("/other")], cache, QUICK.model_copy(update={"max_concurrent": 1}))
    times = dict(site.asked)
    assert [path for path, _ in site.asked] == ["/robots.txt", "/t", "/t", "/other"]
    first = next(moment for path, moment in site.asked if path == "/t")
    assert times["/other"] - first >= 0.99


def test_retry_after_is_read_as_number_and_as_date() -> None:
    later = datetime(2026, 11, 26, 12, 1, tzinfo=UTC)
    assert retry_after_seconds("7", NOW) == 7
    assert retry_after_seconds(format_datetime(later, usegmt=True), NOW) == 60
    assert retry_after_seconds(format_datetime(NOW, usegmt=True), later) == 0
    assert [retry_after_seconds(text, NOW) for text in (None, "", "soon", "-3")] == [None] * 4


def test_redirects_are_followed_to_an_end(site: Server, cache: MetadataCache) -> None:
    site.answers["/old"] = says(301, Location="/newer")
    site.answers["/newer"] = says(307, Location=site.url("/newest"))
    site.answers["/newest"] = says(200, document("new"))
    site.answers["/circle"] = says(302, Location="/circle")
    site.answers["/away"] = says(302, Location="file:///etc/hostname")
    good, circle, away = _fetch([site.url(path) for path in ("/old", "/circle", "/away")], cache)
    assert _content(good) == document("new")
    assert good.url == site.url("/old")
    assert (_reason(circle), _reason(away)) == ("redirects", "bad_url")


def test_what_has_not_changed_is_not_sent_again(site: Server, cache: MetadataCache) -> None:
    site.answers["/e"] = lambda at, count: at.say(200, document("e"), ETag='"v1"') if count == 1 else at.say(304)
    date = "Wed, 25 Nov 2026 10:00:00 GMT"
    site.answers["/m"] = lambda at, count: at.say(200, document("m"), Last_Modified=date) if count == 1 else at.say(304)
    first = _fetch([site.url("/e"), site.url("/m")], cache)
    second = _fetch([site.url("/e"), site.url("/m")], cache)
    assert [_content(outcome) for outcome in second] == [document("e"), document("m")]
    assert first == second
    assert {'"v1"', date} <= set(site.conditions)


def test_a_damaged_cache_is_downloaded_again(site: Server, cache: MetadataCache) -> None:
    site.answers["/e"] = says(200, document("e"), ETag='"v1"')
    (outcome,) = _fetch([site.url("/e")], cache)
    assert outcome.document is not None
    outcome.document.path.write_bytes(b"half")
    assert _reason(_fetch([site.url("/e")], cache, FetchConfig(is_offline=True))[0]) == "not_cached"
    assert _content(_fetch([site.url("/e")], cache)[0]) == document("e")
    assert site.conditions[-1] is None


def test_robots_txt_is_obeyed(site: Server, cache: MetadataCache) -> None:
    rules = b"User-agent: sap-llm\nDisallow: /secret\nCrawl-delay: 1\n\nUser-agent: *\nDisallow: /"
    site.answers |= {
        "/robots.txt": says(200, rules),
        "/open": says(200, document("open")),
        "/open2": says(200, document("open2")),
        "/secret/x": says(200, document("x")),
        "/sly": says(302, Location="/secret/x"),
    }
    outcomes = _fetch([site.url(path) for path in ("/open", "/secret/x", "/open2", "/sly")], cache)
    assert [_reason(outcome) for outcome in outcomes] == [None, "robots", None, "robots"]
    assert site.counts()["/robots.txt"] == 1
    assert site.counts()["/secret/x"] == 0
    times = sorted(moment for path, moment in site.asked if path in ("/open", "/open2", "/sly"))
    assert times[1] - times[0] >= 0.9
    assert times[2] - times[1] >= 0.9


@pytest.mark.parametrize(("status", "reason"), [(401, "robots"), (403, "robots"), (404, None), (500, "http_error")])
def test_robots_txt_that_cannot_be_read(site: Server, cache: MetadataCache, status: int, reason: str | None) -> None:
    site.answers["/robots.txt"] = says(status)
    site.answers["/a"] = says(200, document("a"))
    (outcome,) = _fetch([site.url("/a")], cache)
    assert _reason(outcome) == reason
    assert site.counts()["/a"] == (reason is None)


def test_a_throttled_robots_txt_is_waited_for(site: Server, cache: MetadataCache) -> None:
    site.answers["/robots.txt"] = lambda at, count: at.say(429, Retry_After="1") if count == 1 else at.say(404)
    site.answers["/a"] = says(200, document("a"))
    (outcome,) = _fetch([site.url("/a")], cache)
    assert _reason(outcome) is None
    (first, second) = (moment for path, moment in site.asked if path == "/robots.txt")
    assert second - first >= 0.99


def _drip(at: Handler, count: int) -> None:
    at.send_response(200)
    at.send_header("Content-Length", "1000")
    at.end_headers()
    for _ in range(1000):
        at.wfile.write(b" ")
        if at.server.release.wait(0.05):
            return


def test_hanging_dripping_and_breaking_servers_end_in_time(site: Server, cache: MetadataCache) -> None:
    def hang(at: Handler, count: int) -> None:
        at.server.release.wait(20)

    def break_off(at: Handler, count: int) -> None:
        at.send_response(200)
        at.send_header("Content-Length", "1000")
        at.end_headers()
        at.wfile.write(b"<edmx")
        at.close_connection = True

    site.answers |= {"/hang": hang, "/drip": _drip, "/broken": break_off}
    config = QUICK.model_copy(update={"timeout_seconds": 0.4, "attempts": 2})
    started = time.monotonic()
    outcomes = _fetch([site.url(path) for path in ("/hang", "/drip", "/broken")], cache, config)
    assert time.monotonic() - started < 5
    assert [_reason(outcome) for outcome in outcomes] == ["timeout", "timeout", "unreachable"]
    assert site.counts()["/hang"] == 2


def test_bodies_are_bounded_packed_or_not(site: Server, cache: MetadataCache) -> None:
    bomb = gzip.compress(b" " * 2_000_000)
    site.answers |= {
        "/large": says(200, b" " * 20_000),
        "/bomb": says(200, bomb, Content_Encoding="gzip"),
        "/packed": says(200, gzip.compress(document("packed")), Content_Encoding="gzip"),
    }
    config = QUICK.model_copy(update={"max_bytes": 10_000})
    large, packed_bomb, packed = _fetch([site.url(path) for path in ("/large", "/bomb", "/packed")], cache, config)
    assert (_reason(large), _reason(packed_bomb)) == ("too_large", "too_large")
    assert _content(packed) == document("packed")


def test_refusals_and_rubbish_have_their_names(site: Server, cache: MetadataCache) -> None:
    site.answers |= {
        "/login": says(200, b"<html><body>Log on</body></html>"),
        "/private": says(401),
        "/text": says(200, b"hello"),
    }
    urls = [site.url(path) for path in ("/login", "/private", "/text", "/absent")]
    outcomes = _fetch([*urls, "ftp://127.0.0.1/x", "http://[::1", "http://127.0.0.1:9/x"], cache)
    assert [_reason(outcome) for outcome in outcomes] == [
        *("not_edmx", "refused", "bad_xml", "not_found"),
        *("bad_url", "bad_url", "unreachable"),
    ]
    assert all(outcome.fault and len(outcome.fault.detail) > 30 for outcome in outcomes)


def test_the_cache_stands_in_for_a_server_that_is_down_and_the_fault_is_said(
    site: Server, cache: MetadataCache
) -> None:
    site.answers["/a"] = lambda at, count: at.say(200, document("a")) if count == 1 else at.say(200, b"<html/>")
    _fetch([site.url("/a")], cache)
    (outcome,) = _fetch([site.url("/a")], cache)
    assert (_content(outcome), _reason(outcome)) == (document("a"), "not_edmx")
    assert outcome.fault is not None
    assert "cache was used" in outcome.fault.detail


def test_never_more_than_ten_at_once(site: Server, cache: MetadataCache) -> None:
    def slow(at: Handler, count: int) -> None:
        time.sleep(0.1)
        at.say(200, document(at.path[1:]))

    paths = [f"/s{number}" for number in range(40)]
    site.answers |= dict.fromkeys(paths, slow)
    outcomes = _fetch([site.url(path) for path in paths + paths[:5]], cache)
    assert len(outcomes) == 40
    assert all(outcome.document for outcome in outcomes)
    assert [outcome.url for outcome in outcomes] == [site.url(path) for path in paths]
    assert 5 <= site.most <= MAX_CONCURRENT
    with pytest.raises(ValueError, match="max_concurrent"):
        FetchConfig(max_concurrent=MAX_CONCURRENT + 1)


def test_offline_asks_nobody(site: Server, cache: MetadataCache) -> None:
    site.answers["/a"] = says(200, document("a"))
    online = _fetch([site.url("/a")], cache)
    asked = len(site.asked)
    outcomes = _fetch([site.url("/a"), site.url("/b")], cache, FetchConfig(is_offline=True))
    assert outcomes[0] == online[0]
    assert _reason(outcomes[1]) == "not_cached"
    assert len(site.asked) == asked
