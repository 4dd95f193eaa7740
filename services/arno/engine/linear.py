"""A linear map whose weights are laid out once for the processor that multiplies them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Linear:
    """``x @ weight.T + bias`` over the last dimension.

    On CPU in float32 the weights are reordered once into oneDNN's blocks; the library behind
    `nn.functional.linear` does so in every call, which costs several times the product itself
    where few rows are multiplied, as in every decode step.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Take [O, I] and [O]."""
        self._weight, self._bias = weight, bias
        self._size = weight.shape[0]
        self._blocks: torch.Tensor | None = None
        if _blocks_pay(weight):
            self._blocks = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)

    @classmethod
    def of(cls, *modules: nn.Linear) -> Linear:
        """Make one map of several that are applied to the same input; their outputs stand in line.

        Source: the modules' own weights, copied once.
        """
        weight = torch.cat([module.weight for module in modules])
        biases = [module.bias for module in modules if module.bias is not None]
        return cls(weight, _joined(biases) if biases else None)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of [..., I]."""
        if self._blocks is None:
            return nn.functional.linear(x, self._weight, self._bias)
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._blocks, self._bias, "none", [], ""
        )
        return y


def _joined(biases: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat(list(biases))


def _blocks_pay(weight: torch.Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's
    )
