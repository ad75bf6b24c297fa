"""Models that stay loaded between the steps of a process: steps on one base load it, and merge its adapters, once.

A step gets a view of a kept model: modules and parameters of its own on the same storage. Whoever merges an adapter,
moves or trains a view gives its parameters new storage, so that kept weights never change (tests compare digests).
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from w2s_core.models.machine import free_memory

SHARE = 4
"""A process keeps no more models than fit into this part of the memory that is free: a quarter."""

Name = tuple[str, ...]
_kept: OrderedDict[Name, Any] = OrderedDict()
"""By what they were loaded from; the one that was used last stands last."""


def kept_model(name: Name, load: Callable[[], Any]) -> Any:
    """A view of the model of this name, which is loaded where it is not kept. One over the limit is not kept."""
    if name in _kept:
        _kept.move_to_end(name)
        return _view(_kept[name])
    model = load()
    _kept[name] = model
    while _size(_kept.values()) > limit():
        _kept.popitem(last=False)
    return _view(model) if name in _kept else model


def forget() -> None:
    """Free all kept models."""
    _kept.clear()


def limit() -> int:
    """The bytes that kept models may take together, now that they are loaded."""
    return (free_memory() + _size(_kept.values())) // SHARE


def _view(model: Any) -> Any:
    from torch.nn import Parameter

    own = {id(weight): Parameter(weight.data, weight.requires_grad) for weight in model.parameters()}
    return copy.deepcopy(model, own)


def _size(models: Any) -> int:
    """The bytes of the models' weights, where they share storage counted once."""
    storages = [weight.untyped_storage() for model in models for weight in model.parameters()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
