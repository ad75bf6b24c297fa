"""Models that stay loaded between the steps of a process: steps on one base load it, and merge its adapters, once.

A step gets a view of a kept model: modules and parameters of its own on the same storage. Whoever merges an adapter,
moves or trains a view gives its parameters new storage, so that kept weights never change (tests compare digests).
"""

import copy
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

SHARE = 8
"""Kept models take at most this part of the machine's memory: one eighth."""

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
    """The bytes that kept models may take together."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // SHARE


def _view(model: Any) -> Any:
    from torch.nn import Parameter

    own = {id(weight): Parameter(weight.data, weight.requires_grad) for weight in model.parameters()}
    return copy.deepcopy(model, own)


def _size(models: Any) -> int:
    """The bytes of the models' weights, where they share storage counted once."""
    storages = [weight.untyped_storage() for model in models for weight in model.parameters()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
