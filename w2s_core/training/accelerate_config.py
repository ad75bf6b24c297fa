"""Configs of accelerate's that say over which processes a training runs (`--accelerate FILE`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError
from w2s_core.strict_yaml import read_yaml

KINDS = ("MULTI_CPU", "MULTI_GPU", "FSDP")


def read_accelerate_config(path: Path) -> dict[str, Any]:
    """A config of accelerate's, as far as it has to be known before it is used.

    Raises:
        UserError: no such file, not YAML, or not several processes on this one machine.
    """
    config, _ = read_yaml(path, "an accelerate config")
    if config.get("distributed_type") not in KINDS:
        raise UserError(
            f"{path}: distributed_type is {config.get('distributed_type')!r}, expected one of"
            f" {', '.join(KINDS)}"
        )
    processes = config.get("num_processes")
    if type(processes) is not int or processes < 2:
        raise UserError(f"{path}: num_processes is {processes!r}, expected a number from 2 on")
    if config.get("num_machines", 1) != 1:
        raise UserError(f"{path}: num_machines is {config['num_machines']!r}: only 1 is supported")
    return config


def check_device(path: Path, config: Mapping[str, Any], device: str) -> None:
    """Whether its processes find what they compute on: processors, or a GPU each.

    Raises:
        UserError: it is for the other kind of device, or for more GPUs than there are.
    """
    on_cpu = bool(config.get("use_cpu"))
    if on_cpu != (device == "cpu"):
        raise UserError(f"{path}: use_cpu is {on_cpu}, but the device is {device}")
    if not on_cpu:
        import torch

        if (here := torch.cuda.device_count()) < config["num_processes"]:
            raise UserError(
                f"{path}: num_processes is {config['num_processes']}, but there are {here} GPUs here"
            )
