"""What DeepSpeed is told, judged by DeepSpeed's own configuration."""

from typing import Any

import pytest
from pydantic import ValidationError

from sap_llm.deployment import configs_folder
from sap_llm.training.config import LaunchConfig, TrainingStageConfig
from sap_llm.training.deepspeed_settings import deepspeed_settings


def parsed(accumulation: int = 1, **launch: Any) -> Any:
    from deepspeed.runtime.config import DeepSpeedConfig

    return DeepSpeedConfig(
        deepspeed_settings(TrainingStageConfig(launch=LaunchConfig(**launch)), accumulation=accumulation)
    )


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_stage_is_understood(stage: int) -> None:
    config = parsed(accumulation=4, zero_stage=stage, bucket_elements=1000, communication="bf16")
    assert config.zero_optimization_stage == stage
    assert config.gradient_accumulation_steps == 4
    assert config.zero_config.reduce_bucket_size == 1000
    assert str(config.communication_data_type) == "torch.bfloat16"
    assert not config.bfloat16_config.enabled


def test_offloading_and_kinds_of_weights_reach_deepspeed() -> None:
    config = parsed(
        zero_stage=3, offload_optimizer="nvme", offload_weights="cpu", nvme_folder="/local", weights="mixed",
        accelerator="cuda",
    )  # fmt: skip
    zero = config.zero_config
    assert (zero.offload_optimizer.device, str(zero.offload_optimizer.nvme_path)) == ("nvme", "/local")
    assert (zero.offload_param.device, zero.offload_param.pin_memory) == ("cpu", True)
    assert config.bfloat16_config.enabled
    assert not config.bfloat16_config.bf16_master_weights_and_grads
    pure = parsed(zero_stage=3, weights="bf16").bfloat16_config
    assert pure.bf16_master_weights_and_grads
    assert pure.bf16_optimizer_states


@pytest.mark.parametrize(
    ("launch", "what"),
    [
        ({"zero_stage": 2, "offload_weights": "cpu"}, "offload_weights needs zero_stage 3"),
        ({"zero_stage": 0, "offload_optimizer": "cpu"}, "offload_optimizer needs"),
        ({"zero_stage": 3, "offload_optimizer": "nvme"}, "name nvme_folder"),
        ({"zero_stage": 0, "weights": "bf16"}, "from zero_stage 1 on"),
        ({"launcher": "gloo", "weights": "mixed"}, "needs DeepSpeed"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_a_launch(launch: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        LaunchConfig(**launch)


def test_the_launch_section_of_every_profile_gives_settings_that_deepspeed_takes() -> None:
    import yaml

    for path in sorted(configs_folder().glob("*/*_model.yaml")):
        values = yaml.safe_load(path.read_text())
        if "launch" in values:
            parsed(**values["launch"])
