"""Turn an image file into what the vision encoder sees, as the checkpoint's own processor would."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from arno.engine.checkpoints.layout import read_json
from arno.engine.interface import PreparedImage
from arno.errors import ModelError
from arno.ops.images import ImageLimits, decode_image
from arno.vocabulary import ImageSize


@dataclass(frozen=True, slots=True)
class PixelRecipe:
    """How pixels are made.

    Attributes:
        side_px: Both sides of the square; the aspect is not kept.
        mean: Of each channel, subtracted.
        std: Of each channel, divided by.
        rescale_factor: Turns 0..255 into the range of mean and std.
        resample: Pillow's filter.
    """

    side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rescale_factor: float
    resample: Image.Resampling


def read_recipe(folder: Path) -> PixelRecipe:
    """Read the recipe of a checkpoint.

    Raises:
        ModelError: There is none, or it asks for something that Florence-2 does not do.
    """
    config = _read_config(folder)
    size = config.get("size")
    if not isinstance(size, dict) or not size.get("height") or size["height"] != size.get("width"):
        raise ModelError(f"model: {folder} asks for images of size {size}, not for a square")
    if config.get("do_center_crop"):
        raise ModelError(f"model: {folder} asks for cropped images, Florence-2 sees whole ones")
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not config.get(step, True):
            raise ModelError(
                f"model: {folder} leaves out {step}, without which Florence-2 sees nothing"
            )
    try:
        return PixelRecipe(
            side_px=int(size["height"]),
            mean=_channels(config["image_mean"]),
            std=_channels(config["image_std"]),
            rescale_factor=float(config.get("rescale_factor", 1 / 255)),
            resample=Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise ModelError(
            f"model: the image processor of {folder} lacks a field, or has a bad one: {fault!r}"
        ) from fault


def prepare_image(content: bytes, recipe: PixelRecipe, limits: ImageLimits) -> PreparedImage:
    """Decode, orient, resize and normalise. Any thread.

    Raises:
        InvalidImageError: It cannot be decoded.
        LimitExceededError: It is larger than allowed.
    """
    started_s = time.perf_counter()
    image = decode_image(content, limits)
    return PreparedImage(
        sha256=hashlib.sha256(content).hexdigest(),
        pixels=make_pixels(image.picture, recipe),
        size=ImageSize(image.header.width_px, image.header.height_px),
        mime_type=image.header.mime_type,
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


def _read_config(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            config = read_json(path)
            found = config.get("image_processor", config)
            if isinstance(found, dict) and "image_mean" in found:
                return found
    raise ModelError(f"model: {folder} does not say how images are prepared")


def _channels(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
