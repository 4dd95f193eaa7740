"""What a camera and a file do to a picture: blur, light, contrast and the artefacts of JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

_JPEG_PART = 0.5
_BLUR_PART = 0.4
_BLUR_MAX = 0.007
_LIGHT_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Finish:
    """How a finished picture is made worse.

    Attributes:
        blur: Standard deviation of the blur, in parts of the longer side.
        contrast: Factor on the distance from the middle grey.
        light: Added to every channel, of 255.
        jpeg_quality: Quality of the JPEG file that it was in; None for none.
    """

    blur: float
    contrast: float
    light: float
    jpeg_quality: int | None


def choose_finish(rng: np.random.Generator) -> Finish:
    """Choose a finish."""
    return Finish(
        blur=rng.uniform(0, _BLUR_MAX) if rng.random() < _BLUR_PART else 0.0,
        contrast=rng.uniform(0.55, 1.35),
        light=rng.uniform(-_LIGHT_MAX, _LIGHT_MAX) if rng.random() < 0.5 else 0.0,
        jpeg_quality=int(rng.integers(20, 90)) if rng.random() < _JPEG_PART else None,
    )


def apply_finish(image: Image.Image, finish: Finish) -> Image.Image:
    """Return the picture as the finish leaves it; its size stays."""
    levels = (np.arange(256) - 127.5) * finish.contrast + 127.5 + finish.light
    table = np.clip(np.rint(levels), 0, 255).astype(int).tolist()
    worse = image.point(table * 3)
    if finish.blur:
        worse = worse.filter(ImageFilter.GaussianBlur(finish.blur * max(image.size)))
    if finish.jpeg_quality is not None:
        with io.BytesIO() as file:
            worse.save(file, "JPEG", quality=finish.jpeg_quality)
            file.seek(0)
            worse = Image.open(file).convert("RGB")
    return worse
