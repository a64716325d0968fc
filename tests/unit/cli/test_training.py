"""`sap-llm training` shows a launch without a server, a data set or a variable of the environment."""

import pytest
from typer.testing import CliRunner

from sap_llm.cli.training import commands
from sap_llm.schema.errors import ConfigurationError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SAP_LLM_BUCKET", "SAP_LLM_S3_ENDPOINT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("profile", "shown"),
    [
        ("cluster", ["16 ranks x 1 pieces", "left of a card of 79.60 GiB", "kind: TrainJob", "${SAP_LLM_S3_ENDPOINT}"]),
        ("tiny", ["2 ranks x 1 pieces x 1,024 words", "--plan"]),
        ("seconds", ["1 ranks", "RANK=0", "-m sap_llm.training.program --plan"]),
    ],
)
def test_a_profile_shows_batch_memory_and_what_would_be_started(
    bare: pytest.MonkeyPatch, profile: str, shown: list[str]
) -> None:
    bare.setenv("SAP_LLM_PROFILE", profile)
    result = CliRunner().invoke(commands, ["plan"], catch_exceptions=False)
    assert result.exit_code == 0
    assert [text for text in shown if text not in result.stdout] == []


def test_an_unknown_stage_is_named(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("SAP_LLM_PROFILE", "tiny")
    with pytest.raises(ConfigurationError, match="no training stage 'pizza'"):
        CliRunner().invoke(commands, ["plan", "--stage", "pizza"], catch_exceptions=False)


def test_the_scaling_table_has_a_line_for_every_stage_and_number_of_gpus(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("COLUMNS", "160")
    result = CliRunner().invoke(commands, ["scaling", "--size", "tiny"], catch_exceptions=False)
    assert result.exit_code == 0
    assert sum(line.startswith("│ 16 ") for line in result.stdout.splitlines()) == 3
