"""`sap-llm build raw-exports`: months are listed, misspelt ones refused, and a profile without a source says so."""

from functools import partial
from pathlib import Path

import pytest

from sap_llm.schema.errors import ConfigurationError
from tests.support.build_command import run_build
from tests.support.qorsync_source import Source

pytestmark = pytest.mark.usefixtures("home")
_run = partial(run_build, "raw-exports")


def test_months_that_hold_rows_are_listed(home: Path) -> None:
    source = Source(home / "data/local/qorsync")
    source.add(1)
    source.add(2, processed_at="2025-05-02T00:00:00+00:00")
    source.add(3, processed_at="2024-05-02T00:00:00+00:00")
    source.write()
    listed = _run("--list").output.split("\n")
    assert [line.split()[0] for line in listed if line] == ["2024-05", "2025-03", "2025-05"]
    assert "before 2025-01" in listed[0]


def test_a_misspelt_month_is_refused() -> None:
    error = _run("--month", "2026-3").exception
    assert isinstance(error, ConfigurationError)
    assert "2026-03" in error.remedy


def test_without_a_source_it_says_so() -> None:
    for arguments in ([], ["--list"]):
        done = _run(*arguments)
        assert done.exit_code == 0
        assert "no QorSync source here" in done.output
