"""DaViT's layers in the form that a GPU runs fastest, compiled.

Two of its layers are slow as they are written. Channel attention has heads as wide as the image has
positions, for which no attention kernel is made; here it is two batched products, the first split
over the positions so that it fills the device. Depthwise convolutions are slow in bfloat16 with
channels last; as nine shifted products, the compiler fuses them with what comes before and after.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration

from arno.engine.device import require_device

logger = logging.getLogger(__name__)

_POSITIONS_A_PART: Final = 1152
"""Positions over which one block of the first product sums; divides those of all four stages but
the last, which is half as long."""

_FORMS_MAX: Final = 64


class ChannelAttention(nn.Module):
    """Attention between channels, with the weights of transformers' own module.

    Shapes: B images, N positions, C channels in G groups of D.
    """

    def __init__(self, module: Any) -> None:
        """Take over the weights of a `Florence2VisionChannelAttention`."""
        super().__init__()
        self.qkv, self.proj = module.qkv, module.proj
        self._groups = int(module.groups)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return [B, N, C] of [B, N, C]."""
        images, positions, channels = hidden.shape
        joined = self.qkv(hidden).view(images, positions, 3, self._groups, -1)
        query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)  # [B, G, N, D] each
        parts = positions // _POSITIONS_A_PART if positions % _POSITIONS_A_PART == 0 else 1
        query, key = (each.unflatten(2, (parts, -1)) for each in (query, key))
        weights = torch.matmul(query.transpose(-1, -2), key).float()  # [B, G, parts, D, D]
        weights = (weights.sum(2) * positions**-0.5).softmax(-1).to(hidden.dtype)
        attended = torch.matmul(value, weights.transpose(-1, -2))  # [B, G, N, D]
        joined = attended.transpose(1, 2).reshape(images, positions, channels)
        projected: torch.Tensor = self.proj(joined)
        return projected


class DepthwiseConvolution(nn.Module):
    """A depthwise convolution of 3 x 3 positions; shifted products while it is being compiled."""

    def __init__(self, module: nn.Conv2d) -> None:
        """Take over the weights of a convolution."""
        super().__init__()
        self._convolution = module

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return [B, C, H, W] of [B, C, H, W]."""
        if not torch.compiler.is_compiling():
            plain: torch.Tensor = self._convolution(hidden)
            return plain
        weight, bias = self._convolution.weight, self._convolution.bias
        height, width = hidden.shape[-2:]
        padded = nn.functional.pad(hidden, (1, 1, 1, 1)).float()
        total = torch.zeros_like(hidden, dtype=torch.float32)
        for row in range(3):
            for column in range(3):
                seen = padded[:, :, row : row + height, column : column + width]
                total = total + seen * weight[:, 0, row, column, None, None].float()
        if bias is not None:
            total = total + bias[:, None, None].float()
        return total.to(hidden.dtype)


def lay_out_vision(tower: nn.Module) -> None:
    """Replace the slow layers below a vision encoder; for inference only."""
    for name, child in list(tower.named_children()):
        if hasattr(child, "groups") and hasattr(child, "qkv"):
            setattr(tower, name, ChannelAttention(child))
        elif isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1:
            setattr(tower, name, DepthwiseConvolution(child))
        else:
            lay_out_vision(child)


def group_sizes(most: int) -> tuple[int, ...]:
    """Return the numbers of images that the encoder is compiled for: whole groups and small ones.

    Args:
        most: Most images that are encoded together.
    """
    return tuple(sorted({max(1, most // 4), most}))


def compile_vision(
    network: Florence2ForConditionalGeneration,
    side_px: int,
    counts: Iterable[int],
    **options: Any,
) -> bool:
    """Compile the vision encoder for these numbers of images; return whether that worked.

    Each block is compiled by itself, and equal ones share the result, because to compile the whole
    encoder takes several times as long. Where compiling fails, say because there is no C compiler,
    the encoder runs as it is.

    Args:
        network: The model.
        side_px: Side of its images.
        counts: Numbers of images.
        options: Of `torch.compile`.

    Raises:
        DeviceLostError: The GPU does not work any more.
    """
    untyped: Any = network.model
    blocks = [block for stage in untyped.vision_tower.blocks for block in stage]
    config: Any = torch._dynamo.config
    try:
        # By default only eight forms of one function are kept, and there is one a stage and number.
        with config.patch(recompile_limit=_FORMS_MAX):
            for block in blocks:
                block.compile(dynamic=False, **options)
            for count in counts:
                encode_blank(network, side_px, count)
    except Exception as fault:
        require_device(fault)
        logger.warning("the vision encoder runs uncompiled", exc_info=fault)
        for block in blocks:
            block._compiled_call_impl = None
        return False
    return True


@torch.inference_mode()
def encode_blank(
    network: Florence2ForConditionalGeneration, side_px: int, count: int
) -> torch.Tensor:
    """Return [B, V, D] of blank images."""
    size = (count, 3, side_px, side_px)
    blank = torch.zeros(size, device=network.device, dtype=network.dtype)
    features: torch.Tensor = network.get_image_features(blank).pooler_output
    return features
