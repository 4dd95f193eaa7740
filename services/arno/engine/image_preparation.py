"""Turn an image file into what the vision encoder sees, as the checkpoint's own processor would."""

from __future__ import annotations

import hashlib
import time
from contextlib import nullcontext

import numpy as np
import torch
from PIL import Image

from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.interface import PreparedImage
from arno.ops.images import ImageLimits, open_image
from arno.ops.pixel_budget import PixelBudget
from arno.vocabulary import ImageSize


def prepare_image(
    content: bytes,
    recipe: PixelRecipe,
    limits: ImageLimits,
    budget: PixelBudget | None = None,
) -> PreparedImage:
    """Decode, orient and resize. Any thread.

    Args:
        content: The image file.
        recipe: What the checkpoint's processor does to pixels.
        limits: How large the image may be.
        budget: Makes the decode wait while other threads use too much memory; None never does.

    Raises:
        InvalidImageError: It cannot be decoded.
        LimitExceededError: It is larger than allowed.
    """
    started_s = time.perf_counter()
    image = open_image(content, limits)
    header = image.header
    pixel_count = header.width_px * header.height_px
    with nullcontext() if budget is None else budget.hold(pixel_count):
        pixels = resize(image.decode(), recipe)
    return PreparedImage(
        sha256=hashlib.sha256(content).hexdigest(),
        pixels=pixels,
        size=ImageSize(header.width_px, header.height_px),
        mime_type=header.mime_type,
        prepare_s=time.perf_counter() - started_s,
    )


def resize(picture: Image.Image, recipe: PixelRecipe) -> torch.Tensor:
    """Return an RGB picture at the model's size, [C=3, H, W] uint8."""
    side = (recipe.side_px, recipe.side_px)
    levels = np.asarray(picture.resize(side, resample=recipe.resample))  # [H, W, C]
    return torch.from_numpy(np.ascontiguousarray(levels.transpose(2, 0, 1)))


class Normaliser:
    """Maps the levels of pixels to what the vision encoder takes, by a table of all 3 x 256.

    Source: transformers' image processor, Pillow backend: rescaled in double precision, rounded to
    single, then normalised. The order decides the last bit, which a table keeps on any device.
    """

    def __init__(self, recipe: PixelRecipe, device: torch.device | None = None) -> None:
        """Compute the table, on the device where pixels will be."""
        levels = np.arange(256, dtype=np.float64)
        scaled = (levels * recipe.rescale_factor).astype(np.float32)
        mean, std = (np.array(each, dtype=np.float32) for each in (recipe.mean, recipe.std))
        table = (scaled - mean[:, None]) / std[:, None]  # [C, 256]
        self._table = torch.from_numpy(table).to(device or "cpu")

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return [..., C=3, H, W] float32 of uint8."""
        levels = pixels.flatten(-2).long()
        table = self._table.expand(*levels.shape[:-1], -1)
        return table.gather(-1, levels).view(pixels.shape)


def make_pixels(picture: Image.Image, recipe: PixelRecipe) -> torch.Tensor:
    """Return an RGB picture as the vision encoder takes it, [C=3, H, W] float32."""
    return Normaliser(recipe)(resize(picture, recipe))
