"""Linear maps whose products are of 8-bit integers: the fastest and least exact form on a CPU.

The weights are rounded once, each output with a scale of its own; what they multiply is rounded at
every call, with one scale for all rows. Sums are exact, in 32 bits; biases, GELU and results are
float32. There are two forms of the same arithmetic: one that runs as it is, and one for torch's
compiler, which lays the weights out itself.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from arno.errors import ModelError
from arno.ops.processor import Processor

_BLOCK_VALUES: Final = 1 << 19
"""Values that are rounded at a time: 2 MiB of float32, which a core's own cache holds."""

_LEVELS: Final = 127.0
_ZERO: Final = 128
"""The level that stands for 0."""

INT8: Final = "int8"
"""The setting, and the name of this number format in results."""


def require_int8(processor: Processor, device: torch.device) -> None:
    """Return if products of 8-bit integers are quicker on this device than those of float32.

    Raises:
        ModelError: It is a GPU, or a processor without instructions for them.
    """
    if device.type != "cpu":
        raise ModelError(f"dtype: int8 is for CPUs; on {device} take bfloat16")
    if not processor.multiplies_int8:
        raise ModelError(
            f"dtype: int8 is slower than float32 on this processor, {processor.model}, which has "
            f"neither VNNI nor AMX (it has: {processor.instructions}); take float32 or bfloat16"
        )


class Int8Linear(nn.Module):
    """``x @ weight.T + bias`` over the last dimension, in 8-bit integers."""

    def __init__(self, linear: nn.Linear, *, then_gelu: bool = False) -> None:
        """Round the weights of a map; ``then_gelu`` applies GELU to the result."""
        super().__init__()
        levels, self._scales, self._bias = _rounded(linear)
        self._weight = torch.ops.onednn.qlinear_prepack(levels, None)
        self._zeros = torch.zeros(len(levels), dtype=torch.long)
        self._middle = torch.tensor(_ZERO + 0.5)
        self._size = len(levels)
        self._rows = max(1, _BLOCK_VALUES // levels.shape[1])
        self._after = _after(then_gelu=then_gelu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of [..., I], float32."""
        rows = x.reshape(-1, x.shape[-1])
        least, most = (bound.item() for bound in torch.aminmax(rows))
        scale = max(-least, most) / _LEVELS or 1.0
        blocks = [self._multiply(block, scale) for block in torch.split(rows, self._rows)]
        joined = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return joined.view(*x.shape[:-1], self._size)

    def _multiply(self, rows: torch.Tensor, scale: float) -> torch.Tensor:
        # Without a sign, because oneDNN has no kernel for signed values on both sides.
        # Half a level is added because the conversion cuts fractions off.
        levels = torch.add(self._middle, rows, alpha=1.0 / scale).to(torch.uint8)
        activation, form = self._after
        multiply: Any = torch.ops.onednn.qlinear_pointwise
        product: torch.Tensor = multiply(
            levels, scale, _ZERO, self._weight, self._scales, self._zeros, self._bias,
            1.0, 0, torch.float32, activation, [], form,
        )  # fmt: skip
        return product


class Int8LinearToCompile(nn.Module):
    """An `Int8Linear` for torch's compiler, with the same levels and results."""

    def __init__(self, linear: nn.Linear, *, then_gelu: bool = False) -> None:
        """Round the weights of a map; ``then_gelu`` applies GELU to the result."""
        super().__init__()
        levels, scales, bias = _rounded(linear)
        self.register_buffer("levels", levels)
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros(len(levels), dtype=torch.int32))
        self.register_buffer("bias", bias)
        self._after = _after(then_gelu=then_gelu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of [..., I], float32."""
        scale = (x.abs().amax() / _LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        # `_ZERO`, computed: the compiler takes no constant here.
        zero = (scale > 0).to(torch.int32) * _ZERO
        levels = (x / scale + (_ZERO + 0.5)).to(torch.uint8)
        ops: Any = torch.ops.onednn
        weight = ops.qlinear_prepack(self.levels, None)  # folded, as all that is constant
        activation, form = self._after
        product: torch.Tensor = ops.qlinear_pointwise.tensor(
            levels.reshape(-1, levels.shape[-1]), scale, zero, weight, self.scales, self.zeros,
            self.bias, 1.0, 0, torch.float32, activation, [], form,
        )  # fmt: skip
        return product.view(*x.shape[:-1], -1)


def _rounded(linear: nn.Linear) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return the levels of a map's weights, [O, I] int8, their scales, [O], and its bias."""
    weight = linear.weight.detach().float()
    scales = (weight.abs().amax(1) / _LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
    levels = (weight / scales[:, None]).round_().to(torch.int8)
    return levels, scales, None if linear.bias is None else linear.bias.detach().float()


def _after(*, then_gelu: bool) -> tuple[str, str]:
    """Return what follows a product, as oneDNN names it, and its form."""
    # "none" as an activation is none; as a form it names the exact one of GELU.
    return ("gelu", "none") if then_gelu else ("none", "")
