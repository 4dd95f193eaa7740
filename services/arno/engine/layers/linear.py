"""A linear map whose weights are laid out once for the processor that multiplies them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import nn
from transformers.activations import GELUActivation

from arno.engine.layers.int8 import Int8Linear, Int8LinearToCompile

_TRANSPOSED_MAX: Final = 1 << 20
"""Weights above which blocks are quicker again: a step of base (4 sequences, 3 beams) takes 73 ms
with all maps transposed, 61 with all in blocks, and 59 with those transposed that are small."""


class Linear:
    """``x @ weight.T + bias`` over the last dimension.

    On CPU the weights are reordered once, which the library behind `nn.functional.linear` does in
    every call; that costs more than the product itself where few rows are multiplied, as in a
    decode step. Where few rows are multiplied in float32 and the weights are small, these are
    transposed, otherwise in oneDNN's blocks: 160 x 640 weights and 48 rows take 95 us as they are,
    113 in blocks and 66 transposed; 3 rows 12, 33 and 11; 768 x 768 weights and 12 rows 416, 293
    and 180.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *,
        then_gelu: bool = False,
        few_rows: bool = False,
    ) -> None:
        """Lay out weights.

        Args:
            weight: [O, I].
            bias: [O].
            then_gelu: Apply GELU to the result.
            few_rows: Mostly a few rows are multiplied, as in a decode step.
        """
        self._then_gelu = then_gelu
        self._bias = bias
        self._size = weight.shape[0]
        self._transposed = few_rows and _transposing_pays(weight)
        self._in_blocks = _blocks_pay(weight) and not self._transposed
        if self._in_blocks:  # and the weight itself is not kept
            weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        elif self._transposed:
            weight = weight.t().contiguous()
        self._weight = weight

    @classmethod
    def of(cls, *modules: nn.Linear, then_gelu: bool = False) -> Linear:
        """Join maps of few rows, all of the same input; their outputs follow one another.

        Source: the modules' own weights, copied once.
        """
        weight = torch.cat([module.weight for module in modules])
        biases: list[torch.Tensor] = [module.bias for module in modules if module.bias is not None]
        bias = torch.cat(biases) if biases else None
        return cls(weight, bias, then_gelu=then_gelu, few_rows=True)

    @property
    def size(self) -> int:
        """Size of the output, O."""
        return int(self._size)

    @property
    def transposed(self) -> bool:
        """Whether it keeps small weights transposed."""
        return self._transposed

    def tensors(self) -> list[torch.Tensor]:
        """Return its weights as it keeps them, and its bias if it has one."""
        return [self._weight, *([] if self._bias is None else [self._bias])]

    def over(self, tensors: Iterator[torch.Tensor]) -> Linear:
        """Return a map that takes its weights from others, in the order of `tensors`."""
        other = copy.copy(self)
        other._weight = next(tensors)
        other._bias = None if self._bias is None else next(tensors)
        return other

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of [..., I]."""
        if not self._in_blocks:
            y = self._of_transposed(x) if self._transposed else self._of_rows(x)
            return nn.functional.gelu(y) if self._then_gelu else y
        # The activation is fused with the product; "none" names the exact form of GELU.
        activation, form = ("gelu", "none") if self._then_gelu else ("none", "")
        fused: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, activation, [], form
        )
        return fused

    def _of_rows(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self._weight, self._bias)

    def _of_transposed(self, x: torch.Tensor) -> torch.Tensor:
        rows, bias = x.reshape(-1, x.shape[-1]), self._bias
        y = rows @ self._weight if bias is None else torch.addmm(bias, rows, self._weight)
        return y.view(*x.shape[:-1], self._size)


Int8Form = type[Int8Linear] | type[Int8LinearToCompile]


class LinearModule(nn.Module):
    """A `Linear` as a module, to replace an `nn.Linear`."""

    def __init__(self, linear: Linear) -> None:
        """Take the map that it applies."""
        super().__init__()
        self._linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of [..., I]."""
        return self._linear(x)


def lay_out(module: nn.Module, *, int8: Int8Form | None = None) -> None:
    """Replace every `nn.Linear` below a module, where that pays; for inference only.

    The two maps of a transformer's feed-forward part take their GELU into the first one.

    Args:
        module: Is changed.
        int8: Multiply 8-bit integers, in this form; None multiplies floats.
    """
    fused = has_gelu(module)
    for name, child in list(module.named_children()):
        if not isinstance(child, nn.Linear):
            lay_out(child, int8=int8)
        elif int8 or _blocks_pay(child.weight):
            then_gelu = fused and name == "fc1"
            setattr(module, name, _laid_out(child, then_gelu=then_gelu, int8=int8))
            if then_gelu:
                untyped: Any = module
                untyped.activation_fn = nn.Identity()


def _laid_out(linear: nn.Linear, *, then_gelu: bool, int8: Int8Form | None) -> nn.Module:
    if int8:
        return int8(linear, then_gelu=then_gelu)
    return LinearModule(Linear(linear.weight, linear.bias, then_gelu=then_gelu))


def has_gelu(module: nn.Module) -> bool:
    """Return whether a feed-forward part applies the exact form of GELU to its first map."""
    activation = getattr(module, "activation_fn", None)
    if not hasattr(module, "fc1"):
        return False
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return isinstance(activation, GELUActivation) and activation.act is nn.functional.gelu


def _blocks_pay(weight: torch.Tensor) -> bool:
    available: Any = torch.backends.mkldnn.is_available
    if weight.device.type != "cpu" or not available():
        return False
    if weight.dtype == torch.bfloat16:
        # Where the processor has no instructions for it, oneDNN refuses.
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def _transposing_pays(weight: torch.Tensor) -> bool:
    on_cpu, few = weight.device.type == "cpu", weight.numel() <= _TRANSPOSED_MAX
    return on_cpu and few and weight.dtype == torch.float32
