"""The same forward pass with less work. Nothing here changes a result by more than rounding (tests compare)."""

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.nn import functional

from w2s_core.models.products import by_onednn, product

Multiply = Callable[..., Any]


def quicken(model: Any) -> None:
    """Make a PEFT model's training pass in float32 on a processor cheaper, in place."""
    multiply = product if by_onednn(model) else functional.linear
    for module in model.modules():
        if type(module) is Linear:
            module.__class__, module.multiply = QuickLinear, multiply


class _LowRankSum(torch.autograd.Function):
    """x W' + b + scale * x A' B', for x of shape (tokens, in); gradients for x, A and B.

    multiply: takes the products with W, which is not trained.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float, multiply: Multiply
    ) -> Any:
        low = functional.linear(x, a)
        ctx.save_for_backward(x, weight, a, b, low)
        ctx.scale, ctx.multiply = scale, multiply
        return multiply(x, weight, bias).addmm_(low, b.t(), alpha=scale)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        (grad,) = grads
        x, weight, a, b, low = ctx.saved_tensors
        grad_low = (grad @ b).mul_(ctx.scale)
        grad_x = ctx.multiply(grad, weight.t()).addmm_(grad_low, a) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, grad_low.t() @ x, (grad.t() @ low).mul_(ctx.scale), None, None


class QuickLinear(Linear):
    """A LoRA layer that lets the multiplications add up what PEFT adds in passes of their own.

    PEFT writes B A x, its scaled copy and the sum, each as large as the layer's output, and as much again on the way
    back: for small models on a processor, where memory decides, that is as dear as the products.
    """

    multiply: Multiply = staticmethod(functional.linear)

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As in PEFT; whatever is not the plain case is left to it."""
        if args or kwargs or self.disable_adapters or self.merged or not self._plain():
            return super().forward(x, *args, **kwargs)
        (name,) = self.active_adapters
        base, a, b = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
        flat, scale = x.flatten(0, -2), self.scaling[name]
        result = _LowRankSum.apply(flat, base.weight, base.bias, a, b, scale, self.multiply)  # type: ignore[no-untyped-call]
        return result.view(*x.shape[:-1], -1)

    def _plain(self) -> bool:
        """One adapter without dropout, variant or bias, on an ordinary layer, float32 throughout."""
        names = self.active_adapters
        return (
            len(names) == 1
            and not torch.is_autocast_enabled("cpu")
            and names[0] in self.lora_A
            and names[0] not in self.lora_variant
            and isinstance(self.lora_dropout[names[0]], torch.nn.Identity)
            and self.lora_B[names[0]].bias is None
            and type(self.base_layer) is torch.nn.Linear
            and self.base_layer.weight.dtype == self.lora_A[names[0]].weight.dtype == torch.float32
        )
