"""Turn an image file into what the vision encoder sees, as the checkpoint's own processor would."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
import torch
from PIL import Image

from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.interface import PreparedImage
from arno.engine.settings import EngineSettings
from arno.images.decode import OpenedImage, open_image
from arno.images.pixel_budget import PixelBudget
from arno.vocabulary import ImageSize

_SCALED_SIDES: Final = 1.5
"""Sides of the model's image that a picture decoded at a part of its size still has. What the
decoder leaves out is then mostly what resizing would average away: levels of drawn scenes differ by
0.3 of 255 on average, and those of pure noise by 2.2."""


class ImagePreparer:
    """Prepares images for one engine, and repeats no work on those that it has at hand. Any thread.

    An image that is encoded already is not decoded again, nor is one whose pixels a job still
    holds; where callers bring one image at the same moment, one of them decodes it.
    """

    def __init__(
        self,
        recipe: PixelRecipe,
        settings: EngineSettings,
        *,
        encoded: Callable[[str], torch.Tensor | None] = lambda _: None,
        pin: Callable[[torch.Tensor], torch.Tensor] = lambda pixels: pixels,
    ) -> None:
        """Start with no image at hand.

        Args:
            recipe: What the checkpoint's processor does to pixels.
            settings: How large an image may be, how many pixels are decoded at once, and whether
                large JPEGs are decoded at a part of their size.
            encoded: Returns what an image is encoded to, [V, D], by its SHA-256; None where it is
                not. Any thread.
            pin: Moves pixels to where the device reads them.
        """
        self._recipe, self._limits = recipe, settings.image_limits
        self._budget = PixelBudget(settings.image_pixels_in_flight_max)
        scaled_px = math.ceil(_SCALED_SIDES * recipe.side_px)
        self._side_min_px = scaled_px if settings.scaled_decoding else 0
        self._encoded = encoded
        self._pin = pin
        self._at_hand: WeakValueDictionary[str, torch.Tensor] = WeakValueDictionary()
        self._decoding: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def prepare(self, content: bytes) -> PreparedImage:
        """Read the header of an image file; decode, orient and resize it if need be.

        Raises:
            InvalidImageError: It cannot be decoded.
            LimitExceededError: It is larger than allowed.
        """
        started_s = time.perf_counter()
        image = open_image(content, self._limits)
        digest = hashlib.sha256(content).hexdigest()
        features = self._encoded(digest)
        pixels = self._pixels(digest, image) if features is None else None
        return PreparedImage(
            sha256=digest,
            pixels=pixels,
            size=ImageSize(image.header.width_px, image.header.height_px),
            mime_type=image.header.mime_type,
            prepare_s=time.perf_counter() - started_s,
            features=features,
        )

    def _pixels(self, digest: str, image: OpenedImage) -> torch.Tensor:
        with self._lock:
            found = self._at_hand.get(digest)
            ahead = self._decoding.get(digest)
            if found is None and ahead is None:
                self._decoding[digest] = threading.Event()
        if found is None and ahead is not None:
            ahead.wait()
            found = self._at_hand.get(digest)
            if found is None:  # the other one failed, or nothing holds its pixels any more
                return self._decode(image)
        if found is not None:
            return found
        try:
            pixels = self._decode(image)
            self._at_hand[digest] = pixels
        finally:
            with self._lock:
                self._decoding.pop(digest).set()
        return pixels

    def _decode(self, image: OpenedImage) -> torch.Tensor:
        pixel_count = image.header.width_px * image.header.height_px
        with self._budget.hold(pixel_count):
            picture = image.decode(side_min_px=self._side_min_px)
            return self._pin(resize(picture, self._recipe))


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
