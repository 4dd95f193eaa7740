"""Small image files of every kind that a client may send, built in memory."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

EXIF_ORIENTATION = 0x0112


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return a picture as a file of a kind that Pillow writes."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width_px: int = 64, height_px: int = 48, colour: str = "red", mode: str = "RGB") -> bytes:
    """A PNG of one colour."""
    return encoded(Image.new(mode, (width_px, height_px), colour), "PNG")


def jpeg(width_px: int = 64, height_px: int = 48, colour: str = "blue") -> bytes:
    """A JPEG of one colour."""
    return encoded(Image.new("RGB", (width_px, height_px), colour), "JPEG")


def png_bomb(width_px: int = 30_000, height_px: int = 30_000) -> bytes:
    """A PNG of a few hundred bytes whose header states a huge size."""
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in chunks)


def noise_png(size_bytes_min: int) -> bytes:
    """A PNG that cannot be compressed, at least so large."""
    side_px = int((size_bytes_min / 3) ** 0.5) + 1
    return encoded(Image.effect_noise((side_px, side_px), 100).convert("RGB"), "PNG").ljust(
        size_bytes_min, b"\0"
    )


def scan_bomb(side_px: int, scan_count: int) -> bytes:
    """A small progressive JPEG, grey, in which the last scan comes again and again.

    Each scan takes a few bytes, and costs a decoder one pass over all pixels.
    """
    whole = encoded(Image.new("L", (side_px, side_px), 128), "JPEG", progressive=True, quality=50)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * (scan_count - whole.count(b"\xff\xda")) + whole[-2:]


def animated_gif() -> bytes:
    """A GIF of two frames."""
    frames = [Image.new("P", (64, 48), index) for index in range(2)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def sixteen_bit_png() -> bytes:
    """A PNG with 16 bits for each grey pixel."""
    return encoded(Image.new("I;16", (64, 48), 40_000), "PNG")


def cmyk_jpeg() -> bytes:
    """A JPEG in the colours of print."""
    return encoded(Image.new("CMYK", (64, 48), (10, 200, 30, 0)), "JPEG")


def rotated_jpeg() -> bytes:
    """A JPEG of 64 x 48 stored pixels that a viewer shows as 48 x 64."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    return encoded(Image.new("RGB", (64, 48), "green"), "JPEG", exif=exif)


def palette_alpha_png() -> bytes:
    """A PNG with a palette, one entry of which is transparent."""
    return encoded(Image.new("P", (64, 48), 3), "PNG", transparency=3)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def forbid_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have transformers' processors fail that work by torchvision."""
    from transformers.image_processing_backends import TorchvisionBackend

    def fail(*_args: object, **_options: object) -> None:
        raise AssertionError("pixels by torchvision")

    monkeypatch.setattr(TorchvisionBackend, "process_image", fail)
