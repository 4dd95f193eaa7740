"""Read image files that strangers sent, without ever allocating more than was allowed.

The gateway inspects headers, the engine decodes; both by these functions, so that they never
disagree about what an image is. Uses Pillow, and no model. Any thread: no state, and no
settings of Pillow are touched.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from arno.errors import InvalidImageError, LimitExceededError
from arno.images.file_types import (
    ACCEPTED,
    JPEG,
    TIFF,
    WEBP,
    ImageType,
    describe_refused,
    recognise,
)

_FIELD: Final = "image.content"

# What Pillow's readers raise on files that are broken in one way or another.
_BROKEN: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    NotImplementedError,
    UserWarning,
)

# Pillow's own guard, which stands in the way where a frame is larger than its GIF's screen.
_BOMB: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_WHITE: Final = (255, 255, 255, 255)

_START_OF_SCAN: Final = b"\xff\xda"
"""The marker before each scan of a JPEG. Source: ITU-T T.81, table B.1."""

_SCAN_PATTERN: Final = re.compile(re.escape(_START_OF_SCAN))
_MANY_SCANS: Final = 64

_PIECE_BYTES: Final = 256 * 1024
"""A search of so many bytes holds the interpreter's lock for a quarter of a millisecond."""

_JPEG_IN_TIFF: Final = frozenset({6, 7})
"""Values of TIFF's tag Compression for strips that are JPEG."""

_BAND_PIXELS: Final = 1 << 20
"""Pixels that are converted at a time, so that copies on the way to RGB stay small."""

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what undoes it. Source: Exif 2.32, tag 0x0112."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes of an image file tell.

    Attributes:
        width_px: As a viewer shows it, orientation applied.
        height_px: As a viewer shows it, orientation applied.
        mime_type: By content.
        scan_count: An upper bound of the passes that decoding makes over the pixels.
    """

    width_px: int
    height_px: int
    mime_type: str
    scan_count: int = 1


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How large an image may be.

    Attributes:
        bytes_max: Of the file.
        pixels_max: Width times height, in the header.
        scans_max: Passes of a JPEG over all pixels of the largest allowed image; a smaller one may
            have more of them, as long as passes times pixels stay the same. Decoders work on each
            pixel once a scan, and a scan takes a few bytes of the file: 229 kB held 500 scans of
            49 million pixels, which took 22 s.
    """

    bytes_max: int
    pixels_max: int
    scans_max: int = 20


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as a viewer shows it.

    Attributes:
        picture: RGB, 8 bits a channel, upright, on white where it was transparent.
        header: What its header said.
    """

    picture: Image.Image
    header: ImageHeader


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image file whose header was accepted, and of which nothing is decoded yet.

    Attributes:
        file: Pillow's reader.
        kind: The type of the file.
        orientation: Of EXIF, 1..8.
        header: What the header says.
        field: The name of the request's field, for messages.
    """

    file: ImageFile.ImageFile
    kind: ImageType
    orientation: int
    header: ImageHeader
    field: str

    def decode(self, *, side_min_px: int = 0) -> Image.Image:
        """Return the first frame or page: upright, in RGB, on white. Once.

        White stands behind transparent parts because the model has seen documents and web pages so.

        Args:
            side_min_px: A JPEG may come at a half, a quarter or an eighth of its size, if no side
                is shorter than this then; the decoder computes no more. 0: at its own size.

        Raises:
            InvalidImageError: Broken, or cut off. A part of a picture is never returned.
        """
        try:
            if side_min_px and self.kind is JPEG:
                self.file.draft(None, (side_min_px, side_min_px))
            self.file.load()
            picture = _to_rgb(self.file)
            if self.kind is not TIFF and self.orientation in _TURNS:
                picture = picture.transpose(_TURNS[self.orientation])
        except _BROKEN as fault:
            raise _broken(self.kind, fault, self.field) from fault
        return picture


def inspect_image(content: bytes, limits: ImageLimits, *, field: str = _FIELD) -> ImageHeader:
    """Read the header of an image file; nothing is decoded.

    A file that passes may still be cut off further down: `decode_image` finds that.

    Args:
        content: The file.
        limits: How large it may be.
        field: The name of the request's field, for messages.

    Raises:
        InvalidImageError: Not an image of a type that Arno reads, or its header is broken.
        LimitExceededError: More bytes, pixels, or passes over them than allowed.
    """
    return open_image(content, limits, field=field).header


def decode_image(content: bytes, limits: ImageLimits, *, field: str = _FIELD) -> DecodedImage:
    """Decode an image file: its first frame or page, upright, in RGB, on white.

    White stands behind transparent parts because the model has seen documents and web pages so.

    Raises:
        InvalidImageError: Not an image, broken, or cut off. A part of a picture is never returned.
        LimitExceededError: More bytes, pixels, or passes over them than allowed; found before
            anything is allocated.
    """
    opened = open_image(content, limits, field=field)
    return DecodedImage(opened.decode(), opened.header)


def open_image(content: bytes, limits: ImageLimits, *, field: str = _FIELD) -> OpenedImage:
    """Read the header of an image file, for callers that decode it later.

    Raises:
        InvalidImageError: Not an image of a type that Arno reads, or its header is broken.
        LimitExceededError: More bytes, pixels, or passes over them than allowed.
    """
    if len(content) > limits.bytes_max:
        raise LimitExceededError(
            field=field,
            problem="the file is too large",
            limit=f"{limits.bytes_max} bytes",
            sent=f"{len(content)} bytes",
        )
    if not content:
        raise InvalidImageError(field=field, problem="there is no image", sent="0 bytes")
    kind = recognise(content)
    if kind is None:
        raise InvalidImageError(
            field=field,
            problem="not an image of a type that is read here",
            limit=ACCEPTED,
            sent=describe_refused(content),
        )
    if kind is WEBP:
        _check_webp_canvas(content, limits, field)
    try:
        file = kind.open_file(io.BytesIO(content))
        orientation = _orientation(file)
    except _BOMB as fault:
        raise _too_many_pixels(limits, str(fault), field) from fault
    except _BROKEN as fault:
        raise _broken(kind, fault, field) from fault
    _check_pixels(file.size[0], file.size[1], limits, field)
    scan_count = _scan_count(content, kind, file)
    _check_scans(scan_count, file.size, limits, field)
    width_px, height_px = file.size
    # Pillow's TIFF reader turns the picture and its size by itself.
    if orientation >= 5 and kind is not TIFF:
        width_px, height_px = height_px, width_px
    header = ImageHeader(width_px, height_px, kind.mime_type, scan_count)
    return OpenedImage(file, kind, orientation, header, field)


def _check_pixels(width_px: int, height_px: int, limits: ImageLimits, field: str) -> None:
    if width_px <= 0 or height_px <= 0:
        raise InvalidImageError(
            field=field, problem="the image has no pixels", sent=f"{width_px} x {height_px} pixels"
        )
    if width_px * height_px > limits.pixels_max:
        sent = f"{width_px} x {height_px} = {width_px * height_px} pixels"
        raise _too_many_pixels(limits, sent, field)


def _scan_count(content: bytes, kind: ImageType, file: ImageFile.ImageFile) -> int:
    """Return an upper bound of the passes that decoding makes over the pixels.

    The bytes of the marker cannot occur in the data of a scan. Where they occur in a note of the
    file, such as its thumbnail, one scan too many is counted.
    """
    if kind is JPEG:
        return _starts_of_scans(content)
    if isinstance(file, TiffImagePlugin.TiffImageFile):
        tags = file.tag_v2
        if tags.get(TiffImagePlugin.COMPRESSION) in _JPEG_IN_TIFF:
            strips = tags.get(TiffImagePlugin.STRIPOFFSETS) or tags.get(TiffImagePlugin.TILEOFFSETS)
            # Each strip or tile is a JPEG of its own, and has its own part of the pixels.
            return -(-_starts_of_scans(content) // max(1, len(strips or ())))
    return 1


def _starts_of_scans(content: bytes) -> int:
    """Count the markers, and let other threads run meanwhile: 16 MiB take up to 20 ms."""
    return sum(
        # One byte more, for a marker that begins with the last one of a piece.
        _markers(content, start, start + _PIECE_BYTES + 1)
        for start in range(0, len(content), _PIECE_BYTES)
    )


def _markers(content: bytes, start: int, end: int) -> int:
    # The pattern is found in a third of the time that `count` takes, but each match costs as much
    # as a hundred bytes.
    found = sum(1 for _ in islice(_SCAN_PATTERN.finditer(content, start, end), _MANY_SCANS))
    return found if found < _MANY_SCANS else content.count(_START_OF_SCAN, start, end)


def _check_scans(scan_count: int, size: tuple[int, int], limits: ImageLimits, field: str) -> None:
    allowed = limits.scans_max * limits.pixels_max // (size[0] * size[1])
    if scan_count > allowed:
        raise LimitExceededError(
            field=field,
            problem="the JPEG has too many scans for its size",
            limit=f"{allowed} scans of {size[0]} x {size[1]} pixels",
            sent=f"{scan_count} scans",
        )


def _too_many_pixels(limits: ImageLimits, sent: str, field: str) -> LimitExceededError:
    return LimitExceededError(
        field=field,
        problem="the image has too many pixels",
        limit=f"{limits.pixels_max} pixels",
        sent=sent,
    )


def _check_webp_canvas(content: bytes, limits: ImageLimits, field: str) -> None:
    """Refuse a large canvas before libwebp sees it, which allocates all of it when it opens."""
    if content[12:16] == b"VP8X" and len(content) >= 30:
        width_px = int.from_bytes(content[24:27], "little") + 1
        height_px = int.from_bytes(content[27:30], "little") + 1
        _check_pixels(width_px, height_px, limits, field)
    elif content[12:16] == b"VP8L" and len(content) >= 25:
        bits = int.from_bytes(content[21:25], "little")
        _check_pixels((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, limits, field)
    elif content[12:16] == b"VP8 " and len(content) >= 30:
        width_px = int.from_bytes(content[26:28], "little") & 0x3FFF
        height_px = int.from_bytes(content[28:30], "little") & 0x3FFF
        _check_pixels(width_px, height_px, limits, field)


def _orientation(file: ImageFile.ImageFile) -> int:
    """Return the EXIF orientation, 1..8, from what stands before the pixels; 1 if there is none.

    Pillow's own accessor would decode a whole PNG to look for EXIF behind it.
    """
    if isinstance(file, TIFF.open_file):  # type: ignore[arg-type]  # a class, typed as a callable
        found = file.getexif().get(ExifTags.Base.Orientation, 1)
    else:
        exif = Image.Exif()
        try:
            exif.load(file.info.get("exif", b""))
            found = exif.get(ExifTags.Base.Orientation, 1)
        except _BROKEN:
            return 1  # a broken note about the picture does not break the picture
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _to_rgb(file: Image.Image) -> Image.Image:
    if file.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if file.mode.startswith("I;16") or file.mode == "I":
        return _in_bands(file, lambda band: _from_16_bit(band).convert("RGB"))
    if file.has_transparency_data:
        return _in_bands(file, _on_white)
    return file if file.mode == "RGB" else file.convert("RGB")


def _in_bands(file: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert a picture band by band, so that copies on the way are never whole pictures."""
    picture = Image.new("RGB", file.size)
    height_px = max(1, _BAND_PIXELS // file.width)
    for top in range(0, file.height, height_px):
        band = file.crop((0, top, file.width, min(top + height_px, file.height)))
        picture.paste(convert(band), (0, top))
    return picture


def _on_white(band: Image.Image) -> Image.Image:
    colours = band.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", band.size, _WHITE), colours).convert("RGB")


def _from_16_bit(band: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit grey, by range: Pillow would cut everything above 255 off."""
    wide = band.convert("I")
    return wide.point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _broken(kind: ImageType, fault: BaseException, field: str) -> InvalidImageError:
    text = str(fault) or type(fault).__name__
    return InvalidImageError(
        field=field, problem=f"the {kind.name} cannot be decoded: {text}", sent=kind.mime_type
    )
