"""Turn an image in any form that callers use into the bytes of an image file.

Files and bytes stay as they are: the process that runs the model decodes them, so nothing is lost
on the way. The client sends what comes out; `arno.load` gives it to an engine of this process.
"""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from PIL import Image

from arno.errors import InvalidFieldError, InvalidImageError, LimitExceededError

_LOSSLESS_PIXELS_MAX: Final = 1_000_000
"""Up to here images in memory are sent as PNG; above, PNG costs more than exactness is worth."""

_JPEG_QUALITY: Final = 95
_JPEG_SIDE_PX_MAX: Final = 65_500
"""libjpeg writes no longer side."""

_JPEG_MODES: Final = frozenset({"RGB", "L"})
_PNG_MODES: Final = frozenset({"RGB", "RGBA", "L", "LA", "P", "1", "I;16"})
"""Those of more than 8 bits are left to the server, which brings them into range."""

_WIDE_MODES: Final = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})

_PIXEL_TYPES: Final = frozenset({"|u1", "|b1"})
"""Numpy's names of bytes and truth values. Other numbers have no defined white."""


@runtime_checkable
class PixelArray(Protocol):
    """A numpy array, or what shows itself as one: [H, W], [H, W, 3] or [H, W, 4] uint8, RGB."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Describe the memory, as numpy's array interface protocol says."""


ImageLike: TypeAlias = str | PathLike[str] | bytes | Image.Image | PixelArray
"""A path, the bytes of an image file, a Pillow image, or an array of RGB pixels."""


def encode_image(image: ImageLike, *, bytes_max: int | None = None) -> bytes:
    """Return the bytes of an image file that shows the image.

    Pillow images and arrays become PNG up to a million pixels and JPEG of quality 95 above, but for
    those with transparent parts, which JPEG does not have.

    Args:
        image: The image.
        bytes_max: A larger file is refused, and not read; None is no limit.

    Raises:
        LimitExceededError: The file is larger than that.
        InvalidImageError: There is no such file, it cannot be read, the array is no picture, or the
            picture has no pixels or pixels of no known range.
    """
    if isinstance(image, bytes):
        if bytes_max is not None:
            require_size(len(image), bytes_max)
        return image
    if isinstance(image, str | PathLike):
        return _read(Path(image), bytes_max)
    if isinstance(image, Image.Image):
        return _encode(image)
    return _encode(_from_array(image))


def _read(path: Path, bytes_max: int | None) -> bytes:
    try:
        if bytes_max is not None:
            require_size(path.stat().st_size, bytes_max)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        problem = f"cannot read the file: {getattr(error, 'strerror', None) or error}"
        raise InvalidImageError(field="image", problem=problem, sent=str(path)) from error


def require_size(size_bytes: int, bytes_max: int, *, problem: str = "too large") -> None:
    """Refuse an image file by its size.

    Raises:
        LimitExceededError: It is larger than the limit.
    """
    if size_bytes > bytes_max:
        limit, sent = f"{bytes_max} bytes", f"{size_bytes} bytes"
        raise LimitExceededError(field="image", problem=problem, limit=limit, sent=sent)


def require_several(field: str, images: object, instead: str) -> None:
    """Refuse one image where many are asked for: the letters of a path are no images.

    Args:
        field: Name of the argument.
        images: Its value.
        instead: What takes one, for the error.

    Raises:
        InvalidFieldError: It is a path, bytes or a Pillow image.
    """
    if isinstance(images, str | bytes | PathLike | Image.Image):
        problem = f"must be several images, such as a list of paths; {instead}"
        raise InvalidFieldError(field=field, problem=problem, sent=type(images).__name__)


def _from_array(array: object) -> Image.Image:
    if not isinstance(array, PixelArray):
        problem = "must be a path, bytes, a Pillow image or an array"
        raise InvalidImageError(field="image", problem=problem, sent=type(array).__name__)
    shape, kind = (array.__array_interface__.get(key) for key in ("shape", "typestr"))
    try:
        if kind not in _PIXEL_TYPES:
            raise TypeError(f"pixels are bytes, not {kind}")
        return Image.fromarray(array)
    except (TypeError, ValueError) as error:
        raise InvalidImageError(
            field="image",
            problem="the array is no picture",
            limit="[H, W], [H, W, 3] or [H, W, 4] of uint8",
            sent=f"{shape} of {kind}",
        ) from error


def _encode(image: Image.Image) -> bytes:
    if not image.width or not image.height:
        sent = f"{image.width} x {image.height} pixels"
        raise InvalidImageError(field="image", problem="the image has no pixels", sent=sent)
    if image.mode == "F":
        problem = "floating-point pixels have no known range"
        raise InvalidImageError(field="image", problem=problem, sent=image.mode)
    buffer = io.BytesIO()
    if _suits_jpeg(image):
        picture = image if image.mode in _JPEG_MODES else image.convert("RGB")
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    else:
        _as_png_takes_it(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _as_png_takes_it(image: Image.Image) -> Image.Image:
    """Return the picture in a mode of PNG that holds all of it."""
    if image.mode in _PNG_MODES:
        return image
    if image.mode in _WIDE_MODES:
        return image.convert("I").convert("I;16")
    if image.mode == "La":
        return image.convert("LA")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _suits_jpeg(image: Image.Image) -> bool:
    return (
        image.width * image.height > _LOSSLESS_PIXELS_MAX
        and max(image.size) <= _JPEG_SIDE_PX_MAX
        and not image.has_transparency_data
        and image.mode not in _WIDE_MODES
    )
