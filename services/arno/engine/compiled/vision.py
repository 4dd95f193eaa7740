"""The vision encoder with its projection, compiled for numbers of images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from arno.engine.checkpoints import Checkpoint
from arno.engine.compiled.packages import Packages, compile_module, load_packages
from arno.engine.layers.int8 import INT8, Int8LinearToCompile
from arno.engine.layers.linear import lay_out

_SMALL_SIDE_PX: Final = 256
_SMALL_GROUP: Final = 4
"""A small model's encoder is also compiled for this many images: arno-tiny's take 23.8 ms then, and
38 one after the other. A large one gains nothing, and would be compiled for twice as long."""

_DEVIATION_MAX: Final = {"float32": 1e-4, "bfloat16": 0.05, INT8: 0.1}
"""Of 8-bit products, from the encoder in float32."""


class VisionPart:
    """The `Part`; its sizes are numbers of images, 1 the first."""

    name = "vision"
    title = "vision encoder"

    def sizes(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Return the numbers of images to compile for, in rising order."""
        small = checkpoint.recipe.side_px <= _SMALL_SIDE_PX
        # Of 8-bit products the scales are those of all rows, which must be of one image.
        group = _SMALL_GROUP if small and checkpoint.card.dtype != INT8 else 1
        return tuple(sorted({1, group}))

    def compile(self, checkpoint: Checkpoint, size: int, package: Path) -> None:
        """Write the package for a number of images."""
        encoder = _Encoder(checkpoint.network, int8=checkpoint.card.dtype == INT8)
        compile_module(encoder, (_noise(checkpoint, size),), package)

    @torch.inference_mode()
    def deviation(self, checkpoint: Checkpoint, packages: Packages) -> float:
        """Return the largest difference from the plain encoder, over the largest feature."""
        noise = _noise(checkpoint, sum(packages))  # so that each of them has its turn
        plain: torch.Tensor = checkpoint.network.get_image_features(noise).pooler_output
        compiled: Any = CompiledTower(packages)(noise).last_hidden_state
        return float((compiled - plain).abs().max() / plain.abs().max())

    def deviation_max(self, dtype: str) -> float:
        """Return the largest difference that is kept, of a model in this number format."""
        return _DEVIATION_MAX[dtype]

    def put_in_place(self, network: Any, packages: Packages) -> None:
        """Load packages in the place of tower and projection."""
        model = network.model
        model.vision_tower, model.multi_modal_projector = CompiledTower(packages), nn.Identity()


class CompiledTower(nn.Module):
    """Packages in the place of a vision tower; its projection is part of them."""

    def __init__(self, packages: Packages) -> None:
        """Load packages.

        Args:
            packages: By the numbers of images that they take, 1 among them.

        Raises:
            PermissionError: Another user than this one or root could have written one.
        """
        super().__init__()
        self._runs = load_packages(packages)

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutput:
        """Return [B, V, D] of [B, C=3, H, W], as many images at once as there are packages for."""
        features, first = [], 0
        while first < len(pixel_values):
            left = len(pixel_values) - first
            count = max(each for each in self._runs if each <= left)
            features += self._runs[count](pixel_values[first : first + count].contiguous())
            first += count
        return BaseModelOutput(last_hidden_state=torch.cat(features))


class _Encoder(nn.Module):
    def __init__(self, network: Florence2ForConditionalGeneration, *, int8: bool) -> None:
        super().__init__()
        untyped: Any = network.model
        self.tower, self.projector = untyped.vision_tower, untyped.multi_modal_projector
        if int8:
            self.tower = copy.deepcopy(self.tower)
            lay_out(self.tower, int8=Int8LinearToCompile)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.projector(self.tower(pixels).last_hidden_state)
        return features


def _noise(checkpoint: Checkpoint, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    side_px = checkpoint.recipe.side_px
    noise = torch.randn((count, 3, side_px, side_px), generator=generator)
    return noise.to(checkpoint.network.dtype)
