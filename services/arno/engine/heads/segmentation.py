"""UPerNet over the stages of a DaViT: transformers' decode head and auxiliary head.

Source: Xiao et al., "Unified perceptual parsing for scene understanding" (2018).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from transformers import UperNetConfig
from transformers.models.upernet.modeling_upernet import UperNetFCNHead, UperNetHead

from arno.engine.heads.description import HeadDescription
from arno.engine.heads.stages import DavitStages

IGNORED: Final = 255
"""The label of pixels that are neither learned from nor judged."""
_AUXILIARY_WEIGHT: Final = 0.4
_AUXILIARY_STAGE: Final = 2


class SegmentationHead(nn.Module):
    """A category for each pixel."""

    def __init__(self, stages: DavitStages, description: HeadDescription) -> None:
        """Build the heads; all but the stages starts from random weights."""
        super().__init__()
        self.stages = stages
        # The number of labels is a field of all configurations, and in the signature of none.
        untyped_config: Any = UperNetConfig
        untyped_head: Any = UperNetHead
        config = untyped_config(
            hidden_size=description.width,
            auxiliary_channels=description.width,
            num_labels=len(description.categories),
        )
        self.decode_head = untyped_head(config, stages.channels)
        self.auxiliary_head = UperNetFCNHead(config, stages.channels, in_index=_AUXILIARY_STAGE)

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits, or with labels the loss: cross-entropy a pixel.

        Shapes: pixels [B, 3, S, S], normalised; labels [B, S, S] int64; logits [B, K, S, S].
        """
        features = self.stages(pixels)
        logits = _enlarged(self.decode_head(features), pixels)
        if labels is None:
            return logits
        auxiliary = _enlarged(self.auxiliary_head(features), pixels)
        return _loss(logits, labels) + _AUXILIARY_WEIGHT * _loss(auxiliary, labels)


def _enlarged(logits: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    size = pixels.shape[-2:]
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    # Written as a sum over a count: a batch of ignored pixels alone has no mean.
    summed = functional.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    return summed / (labels != IGNORED).sum().clamp(min=1)
