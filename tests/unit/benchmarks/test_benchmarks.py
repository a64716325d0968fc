"""The benchmark runner: what it files, and that ratios point the right way."""

import json
from pathlib import Path

import pytest

import benchmarks.__main__ as runner
from benchmarks.measure import Timing, duel, higher_is_better, lower_is_better, repeat
from sap_llm.schema.errors import ConfigurationError

GOOD = '''"""A benchmark."""


def run():
    """Fixed figures."""
    return {"speed": {"ours": 2.0, "rival": 1.0, "rival_name": "them", "ratio": 2.0, "unit": "docs/s", "runs": 3}}
'''


def test_ratio_above_one_means_ours_is_better() -> None:
    common = {"rival_name": "them", "runs": 3}
    assert lower_is_better(ours=1.0, rival=4.0, unit="s", **common)["ratio"] == 4.0
    assert higher_is_better(ours=4.0, rival=1.0, unit="docs/s", **common)["ratio"] == 4.0


def test_sides_take_turns_and_warm_ups_are_not_counted() -> None:
    calls: list[str] = []
    ours, rival = duel(lambda: calls.append("o"), lambda: calls.append("r"), runs=3, warmups=2)
    assert "".join(calls) == "or" * 5
    assert len(ours.seconds) == len(rival.seconds) == 3
    assert len(repeat(lambda: None, runs=4).seconds) == 4


def test_timing_has_minimum_and_median() -> None:
    timing = Timing(seconds=(3.0, 1.0, 2.0))
    assert (timing.minimum, timing.median) == (1.0, 2.0)


def test_result_is_filed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    monkeypatch.setattr(runner, "FOLDER", tmp_path)
    monkeypatch.setattr(runner.importlib.import_module("benchmarks"), "__path__", [str(tmp_path)])
    assert runner.names() == ["good"]
    assert runner.main(["good"]) == 0
    assert json.loads((tmp_path / "results/good.json").read_text())["speed"]["ratio"] == 2.0
    report = (tmp_path / "RESULTS.md").read_text()
    assert "## good, 20" in report
    assert "| speed | 2 | 1 (them) | docs/s | 2.00 | 3 |" in report


def test_unknown_benchmark_names_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match="imports"):
        runner.run("no_such_benchmark")
    assert runner.main(["no_such_benchmark"]) == 1
