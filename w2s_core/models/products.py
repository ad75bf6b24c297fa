"""Products with the weights of large bases, on processors where oneDNN is faster at them than torch's choice, MKL.

Only float32 weights that stay as they are. The sums are taken in another order, so that results differ in rounding, as
they do from one kind of processor to another.
"""

from typing import Any

import torch

from w2s_core.models.machine import COPIED, LARGE, onednn_is_faster

_ROWS = 64
"""Of x, for which the layout of packed weights is chosen; it serves 16 to 1,024 as well (`benchmarks/products.py`)."""


def by_onednn(model: Any) -> bool:
    """Whether products with this model's weights are left to oneDNN here."""
    return bool(model.device.type == "cpu" and model.num_parameters() >= LARGE and onednn_is_faster())


def product(x: Any, weight: Any, bias: Any = None) -> Any:
    """By oneDNN, x W' + b without a gradient: x [..., in], weight [out, in], as it is or packed."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def pack(model: Any) -> None:
    """Lay out the weights of all linear layers in the order in which oneDNN reads them, in place, for a model that is
    trained no further. Else it would do so again for every product.
    """
    copied = model.num_parameters() <= COPIED
    for module in model.modules():
        if type(module) is torch.nn.Linear and module.weight.dtype == torch.float32:
            weight = module.weight.detach()
            module.__class__ = PackedLinear
            module.packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if copied else weight


class PackedLinear(torch.nn.Linear):
    """A linear layer whose products oneDNN computes."""

    packed: Any

    def forward(self, x: Any) -> Any:
        """As in `torch.nn.Linear`, without a gradient."""
        return product(x, self.packed, self.bias)
