"""A server of SAP metadata."""

from collections.abc import Iterator

import pytest

from tests.support.metadata_site import Server, serve


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as server:
        yield server
