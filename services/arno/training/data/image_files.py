"""Read the image files that data names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL.Image import Image

from arno.errors import InvalidFieldError, InvalidImageError
from arno.images.decode import ImageLimits, decode_image, inspect_image
from arno.training.data.source import error_at
from arno.vocabulary import ImageSize

# The files are the user's own: the limits only stop what is not a picture.
_LIMITS: Final = ImageLimits(bytes_max=1 << 30, pixels_max=400_000_000)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, named in a line of data.

    Attributes:
        path: The file.
        place: File and line that name the image, for messages.
        field: Name of the field in that line.
    """

    path: Path
    place: str
    field: str

    def size(self) -> ImageSize:
        """Return the image's size as a viewer shows it; only the header is decoded.

        Raises:
            InvalidImageError: It cannot be read.
        """
        try:
            header = inspect_image(self._content(), _LIMITS, field=self._name())
        except InvalidFieldError as error:
            raise error_at(self.place, error) from error
        return ImageSize(header.width_px, header.height_px)

    def __call__(self) -> Image:
        """Return the image, upright, in RGB.

        Raises:
            InvalidImageError: It cannot be read.
        """
        try:
            return decode_image(self._content(), _LIMITS, field=self._name()).picture
        except InvalidFieldError as error:
            raise error_at(self.place, error) from error

    def _name(self) -> str:
        return f"{self.field} {self.path}"

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except (OSError, ValueError) as fault:  # ValueError: no file can have such a name
            problem = f"cannot be read: {getattr(fault, 'strerror', None) or fault}"
            raise InvalidImageError(field=self._name(), problem=problem) from fault
