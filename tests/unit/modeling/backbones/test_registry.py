"""Parameters are counted, and they are those of the published models."""

import pytest
from typer.testing import CliRunner

from sap_llm.cli import app as cli
from sap_llm.cli import models
from sap_llm.modeling.backbones.registry import FAMILIES, entry
from sap_llm.schema.errors import ConfigurationError


@pytest.mark.parametrize(
    ("family", "size", "billions"),
    [
        ("qwen2_5_vl", "7b", 8.29),
        ("qwen2_5_vl", "72b", 73.4),
        ("layoutlmv3", "base", 0.126),
        ("layoutlmv3", "large", 0.357),
        ("donut", "base", 0.202),
    ],
)
def test_published_sizes_have_the_published_parameters(family: str, size: str, billions: float) -> None:
    assert entry(family, size).parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_rivals_are_of_equal_size() -> None:
    ours, rival = entry("compact", "small").parameters, entry("layoutlmv3", "rival").parameters
    assert rival < 30_000_000
    assert rival == pytest.approx(ours, rel=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_size_of_seconds(family: str) -> None:
    assert entry(family, "debug").parameters < 1_000_000


def test_bytes_follow_the_precision() -> None:
    one = entry("qwen2_5_vl", "72b")
    assert one.weight_bytes("bf16") == 2 * one.parameters
    assert one.weight_bytes("int4") == one.parameters // 2


def test_an_unknown_backbone_names_the_known() -> None:
    with pytest.raises(ConfigurationError, match=r"no backbone layoutlmv3/huge.*compact/debug"):
        entry("layoutlmv3", "huge")


def test_the_command_lists_families() -> None:
    models.register(cli.app)
    found = CliRunner().invoke(cli.app, ["models", "backbones", "--family", "doc_router"])
    assert found.exit_code == 0, found.output
    assert "doc_router/tiny" in found.output
    assert "204,862" in found.output
