"""DeepSpeed's configuration, made from a stage's.

Belongs here: the mapping from `LaunchConfig` to DeepSpeed's own keys, importable without DeepSpeed. Using the result is
`engine`; what the settings cost in memory is `memory`.
"""

from typing import Any

from sap_llm.training.config import LaunchConfig, TrainingStageConfig


def deepspeed_settings(config: TrainingStageConfig, *, accumulation: int = 1) -> dict[str, Any]:
    """What `deepspeed.initialize` gets, and transformers where it loads weights sharded.

    Args:
        config: Of the stage.
        accumulation: Pieces of a rank before an update; DeepSpeed divides the loss by it.
    """
    launch = config.launch
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # batches are counted by the stage, so this is nominal
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": config.optimizer.gradient_clipping,
        "zero_optimization": _zero(launch),
        "zero_allow_untested_optimizer": True,  # torch's AdamW: no C++ op to compile
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    if launch.weights != "fp32":
        is_pure = launch.weights == "bf16"
        settings["bf16"] = {
            "enabled": True,
            "bf16_master_weights_and_grads": is_pure,
            "bf16_optimizer_states": is_pure,
        }
    if launch.communication:
        settings["communication_data_type"] = launch.communication
    return settings


def _zero(launch: LaunchConfig) -> dict[str, Any]:
    stage = launch.zero_stage
    zero: dict[str, Any] = {
        "stage": stage,
        # Stage 1 on CPU ranks flattens the gradients once, for the message. The contiguous buffer would be two more
        # copies of all of them, through a fresh allocation of two gigabytes a step, to prevent a fragmentation
        # that only an accelerator's memory knows.
        "contiguous_gradients": stage > 1 or launch.accelerator != "cpu",
        "reduce_bucket_size": launch.bucket_elements,
        "allgather_bucket_size": launch.bucket_elements,
    }
    if stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": launch.bucket_elements // 10,  # the same ratio as DeepSpeed's defaults
            "stage3_max_live_parameters": 2 * launch.bucket_elements,
            "stage3_max_reuse_distance": 2 * launch.bucket_elements,
        }
    for key, place in (("offload_optimizer", launch.offload_optimizer), ("offload_param", launch.offload_weights)):
        if place != "none":
            # pinned memory is an accelerator's matter
            zero[key] = {"device": place, "pin_memory": launch.accelerator != "cpu"}
            zero[key] |= {"nvme_path": launch.nvme_folder} if place == "nvme" else {}
    return zero
