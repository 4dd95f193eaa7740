"""Tell the type of an image file from its first bytes, never from its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)


@dataclass(frozen=True, slots=True)
class ImageType:
    """A type of image file that Arno reads.

    Attributes:
        name: What people call it.
        mime_type: Such as `image/png`.
        open_file: Pillow's reader; called itself, not through `Image.open`, which would guess again
            and warn of large images where Arno has a limit of its own.
    """

    name: str
    mime_type: str
    open_file: Callable[..., ImageFile.ImageFile]


JPEG: Final = ImageType("JPEG", "image/jpeg", JpegImagePlugin.JpegImageFile)
PNG: Final = ImageType("PNG", "image/png", PngImagePlugin.PngImageFile)
GIF: Final = ImageType("GIF", "image/gif", GifImagePlugin.GifImageFile)
BMP: Final = ImageType("BMP", "image/bmp", BmpImagePlugin.BmpImageFile)
TIFF: Final = ImageType("TIFF", "image/tiff", TiffImagePlugin.TiffImageFile)
WEBP: Final = ImageType("WebP", "image/webp", WebPImagePlugin.WebPImageFile)

ACCEPTED: Final = "JPEG, PNG, WebP, GIF, BMP, TIFF"

FILE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
)
"""Pictures in folders are found by name; their content is judged when they are decoded."""

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
)

_REFUSED: Final = (
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
    (b"{", "JSON"),
    (b"PK\3\4", "ZIP"),
    (b"\x1f\x8b", "gzip"),
)
_BRANDS: Final = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"avif": "AVIF"}


def recognise(content: bytes) -> ImageType | None:
    """Return the type of an image file; None for those that Arno does not read."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return WEBP
    return next((kind for start, kind in _SIGNATURES if content.startswith(start)), None)


def describe_refused(content: bytes) -> str:
    """Return what a file that Arno does not read seems to be, for the message."""
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12], "a video or HEIF container")
    known = (name for start, name in _REFUSED if content.startswith(start))
    return next(known, f"no known image type, beginning with {content[:8].hex(' ')}")
