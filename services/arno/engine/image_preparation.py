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
    """Decode, orient, resize and normalise. Any thread.

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
        pixels = make_pixels(image.decode(), recipe)
    return PreparedImage(
        sha256=hashlib.sha256(content).hexdigest(),
        pixels=pixels,
        size=ImageSize(header.width_px, header.height_px),
        mime_type=header.mime_type,
        prepare_s=time.perf_counter() - started_s,
    )


def make_pixels(picture: Image.Image, recipe: PixelRecipe) -> torch.Tensor:
    """Return an RGB picture as a tensor.

    Shapes: [C=3, H, W] float32.
    Source: transformers' image processor, Pillow backend: rescaled in double precision, rounded to
    single, then normalised. The order decides the last bit.
    """
    side = (recipe.side_px, recipe.side_px)
    resized = np.asarray(picture.resize(side, resample=recipe.resample))  # [H, W, C]
    scaled = (resized.astype(np.float64) * recipe.rescale_factor).astype(np.float32)
    mean, std = (np.array(values, dtype=np.float32) for values in (recipe.mean, recipe.std))
    normalised = (scaled - mean) / std
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))  # [C, H, W]
