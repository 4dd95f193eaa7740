"""The four stages of a DaViT as features of several resolutions, and a pyramid over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import nn
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig
from transformers.models.florence2.modeling_florence2 import Florence2VisionBackbone

from arno.errors import ModelError

STAGE_COUNT: Final = 4


def build_tower(vision: Mapping[str, Any]) -> Florence2VisionBackbone:
    """Return a vision encoder with random weights.

    Raises:
        ModelError: The configuration cannot be used, or has another number of stages than four.
    """
    try:
        tower = Florence2VisionBackbone(Florence2VisionConfig(**vision))
    except Exception as fault:  # layers raise nearly anything on sizes that do not fit
        raise ModelError(f"model: no vision encoder can be built from it: {fault}") from fault
    if tower.num_stages != STAGE_COUNT:
        raise ModelError(
            f"model: a head needs a vision encoder of {STAGE_COUNT} stages, not {tower.num_stages}"
        )
    return tower


class DavitStages(nn.Module):
    """A DaViT that returns the features of every stage, each normalised over its channels.

    Shapes: pixels [B, 3, H, W] -> four of [B, C_i, H_i, W_i], the finest first.
    """

    def __init__(self, tower: Florence2VisionBackbone) -> None:
        """Take a vision encoder; the norms are new, and start as those of any transformer."""
        super().__init__()
        self.tower = tower
        config: Any = tower.config
        self.channels: list[int] = list(config.embed_dim)
        self.strides = [int(stride) for stride in config.patch_stride]
        # The stages of a language model's encoder have any scale: only its last one was normalised.
        self.norms = nn.ModuleList(nn.LayerNorm(count) for count in self.channels)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of the stages."""
        features = pixels
        found: list[torch.Tensor] = []
        stages: Any = zip(self.tower.convs, self.tower.blocks, self.norms, strict=True)
        for embed, blocks, norm in stages:
            features = embed(features)
            for block in blocks:
                features = block(features)
            found.append(norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return found

    def train_last(self, count: int) -> None:
        """Let the last `count` stages of the encoder learn, and freeze the others."""
        for index in range(STAGE_COUNT):
            learns = index >= STAGE_COUNT - count
            for part in (self.tower.convs[index], self.tower.blocks[index]):
                part.requires_grad_(learns)
