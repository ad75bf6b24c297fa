"""Environment variables that accelerate, transformers, TRL, PEFT and torch read by themselves.

No key has them in it. So a variable that could change a training's weights, or break it, is taken out before it starts;
what a launcher sets for its processes stays there, and the precision is always the settings'. The others change
nothing but rounding, files' places or what is logged (tests/training/test_environment.py walks over the libraries).
"""

import os
from collections.abc import Mapping, MutableMapping

_PROCESSES = (
    "GROUP_RANK", "GROUP_WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "RANK",
    "ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE", "TORCHELASTIC_", "WORLD_SIZE",
)  # fmt: skip
"""Set by torchrun for its processes."""
TAKEN_OUT = (
    "ACCELERATE_",  # precision, compilation, accumulation, device, kind of distribution
    "DEEPSPEED_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_",
    "FORK_LAUNCHED", "NODE_RANK", *_PROCESSES,
    "MPI_", "MV2_", "OMPI_", "PMI_",  # MPI's: a job's shell may have them, and accelerate would wait for others
    "SAGEMAKER_", "SM_", "SMDATAPARALLEL_", "PJRT_", "TPU_", "USE_TORCH_XLA", "XLA_", "PT_HPU_",
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_",  # float32 products with 10 bits of mantissa
)  # fmt: skip
"""Names, and beginnings of names that end in an underscore."""
FROM_LAUNCHER = ("FSDP_", "ACCELERATE_USE_CPU", "ACCELERATE_USE_FSDP", *_PROCESSES)
"""Of these, the ones that `accelerate launch` sets for its processes."""


def is_taken_out(name: str) -> bool:
    """Whether a training starts without this variable."""
    return _matches(name, TAKEN_OUT)


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of an environment without what is taken out, for a launcher that is to be started."""
    return {name: value for name, value in environment.items() if not is_taken_out(name)}


def take_out_settings(environment: MutableMapping[str, str] = os.environ, *, launched: bool = False) -> None:
    """Take the variables out of this process's environment. `launched`: except those that its launcher set."""
    for name in [name for name in environment if is_taken_out(name)]:
        if not (launched and _matches(name, FROM_LAUNCHER)):
            del environment[name]


def set_precision(precision: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what accelerate takes where no caller gives it a precision; TRL gives it one for bfloat16 alone."""
    environment["ACCELERATE_MIXED_PRECISION"] = "bf16" if precision == "bfloat16" else "no"


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        name == pattern or (pattern.endswith("_") and name.startswith(pattern)) for pattern in patterns
    )
