"""Muon: what it does to matrices, that torch's does the same, and that ZeRO's partitions change nothing."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.heads import MultitaskModel
from sap_llm.modeling.labels import default_labels
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.launch import choose_backend
from sap_llm.training.optimizer import MuonWithAdamW, make_optimizer, orthogonalised
from tests.support.engine_steps import run_ranks

SHAPES = ((48, 16), (16, 48), (16, 16), (48, 16))


def config_of(**optimizer: float) -> MultitaskModelConfig:
    return MultitaskModelConfig.model_validate({"optimizer": optimizer, "launch": {"precision": "fp32"}})


def test_singular_values_become_almost_one_and_directions_stay() -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(shape) * 10.0**place for place, shape in enumerate(SHAPES)]
    for matrix, result in zip(matrices, orthogonalised(matrices, compute=torch.float32), strict=True):
        assert result.shape == matrix.shape
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        turned = left.mT @ result @ right.mT  # diagonal when the singular vectors are the same
        values = turned.diagonal()
        assert torch.allclose(turned, torch.diag(values), atol=1e-4)
        assert ((values > 0.4) & (values < 1.3)).all()


def test_no_gradient_means_no_direction() -> None:
    (result,) = orthogonalised([torch.zeros(4, 6)], compute=torch.bfloat16)
    assert result.abs().sum() == 0.0


@pytest.mark.parametrize("compute", [torch.bfloat16, torch.float32])
def test_steps_are_those_of_torch_with_the_size_of_adamw(compute: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in SHAPES] + [nn.Parameter(torch.randn(7))]
    theirs = [nn.Parameter(value.detach().clone()) for value in ours]
    before = [value.detach().clone() for value in ours]
    adamw = torch.optim.AdamW(ours[-1:], lr=1e-3, betas=(0.9, 0.98), fused=True)
    joined = MuonWithAdamW(ours[:-1], adamw, learning_rate=1e-2, weight_decay=0.02, compute=compute)
    apart = [
        torch.optim.Muon(theirs[:-1], lr=1e-2, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(theirs[-1:], lr=1e-3, betas=(0.9, 0.98), fused=True),
    ]
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        joined.step()
        for optimizer in apart:
            optimizer.step()
    for mine, other, start in zip(ours, theirs, before, strict=True):
        # torch iterates in bf16, whose rounding is all the difference
        assert float((mine - other).detach().norm()) < 0.03 * float((mine - start).detach().norm())


def test_only_the_matrices_of_the_blocks_are_under_muon_and_zero_switches_it_off() -> None:
    model = MultitaskModel(EncoderConfig(width=32, layers=2, heads=2), default_labels())
    optimizer = make_optimizer(model, config_of(learning_rate=1e-3, muon_learning_rate=2e-3))
    named = {id(value): name for name, value in model.named_parameters()}
    muon, *rest = ([named[id(value)] for value in group["params"]] for group in optimizer.param_groups)
    assert len(muon) == 2 * 4
    assert all(".blocks." in name and name.endswith("weight") for name in muon)
    assert sorted([*muon, *(name for group in rest for name in group)]) == sorted(named.values())
    assert [group["lr"] for group in optimizer.param_groups] == [2e-3, 1e-3, 1e-3]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.02, 0.02, 0.0]
    assert type(make_optimizer(model, config_of(muon_learning_rate=0.0))) is torch.optim.AdamW


@pytest.mark.skipif(choose_backend(MultitaskModelConfig().launch)[0] != "deepspeed", reason="no C++ compiler or ninja")
def test_both_engines_take_the_same_steps_and_resume_with_the_momentum(tmp_path: Path) -> None:
    plain = run_ranks("gloo", tmp_path / "gloo", ranks=1)
    sharded = run_ranks("deepspeed", tmp_path / "deepspeed", ranks=1)
    for name, start in plain["start"].items():
        assert not torch.equal(start, plain["early"][name])
        for moment in plain:
            assert torch.allclose(plain[moment][name], sharded[moment][name], atol=1e-6), (moment, name)
        for weights in (plain, sharded):
            assert torch.equal(weights["late"][name], weights["resumed"][name])
