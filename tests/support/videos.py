"""Rendered videos whose frames tell their own number."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageDraw

_BITS = 10
_WIDTH_PX, _HEIGHT_PX = 320, 160


def numbered_picture(number: int) -> Image.Image:
    """Return a picture with the number as ten black or white bars, and a box that moves right."""
    image = Image.new("RGB", (_WIDTH_PX, _HEIGHT_PX), (90, 110, 130))
    canvas = ImageDraw.Draw(image)
    for bit in range(_BITS):
        shade = 255 if number >> bit & 1 else 0
        canvas.rectangle([bit * 32, 0, bit * 32 + 31, 63], fill=(shade, shade, shade))
    left = 4 + number % 280
    canvas.rectangle([left, 90, left + 32, 140], fill=(220, 40, 40))
    return image


def read_number(image: Image.Image) -> int:
    """Return the number of a picture, after whatever compression."""
    grey = image.convert("L").resize((_WIDTH_PX, _HEIGHT_PX))
    return sum(1 << bit for bit in range(_BITS) if grey.getpixel((bit * 32 + 16, 32)) > 127)


def write_video(
    path: Path,
    *,
    duration_s: float,
    rate: int,
    codec: str = "mpeg4",
    scale: int = 1,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write a video in which frame n shows the number n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.width, stream.height = scale * _WIDTH_PX, scale * _HEIGHT_PX
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, rate)
        for number in range(int(duration_s * rate)):
            frame = av.VideoFrame.from_image(numbered_picture(number))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
