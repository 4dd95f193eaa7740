"""The truth that heads are trained on and judged by: objects with masks, categories of pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from arno.engine.heads.segmentation import IGNORED
from arno.vocabulary import Box, ImageSize

Mask = npt.NDArray[np.bool_]
LabelMap = npt.NDArray[np.uint8]

CATEGORIES_MAX: Final = IGNORED
"""Categories of pixels that a byte can number, beside the mark of what is not judged."""


@dataclass(frozen=True, slots=True)
class TrueObject:
    """An object of an image.

    Attributes:
        category: The number of its category, from 0.
        box: In pixels of the image.
        mask: [H, W]; None where the data has no masks.
        crowd: Whether it marks many objects as one: it is not learned, and findings in it are
            neither right nor wrong.
    """

    category: int
    box: Box
    mask: Mask | None
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class TrueImage:
    """An image with its truth.

    Attributes:
        name: Origin of the image, for messages.
        picture: RGB, as a viewer shows it.
        objects: Its objects, for detection; empty for segmentation.
        labels: [H, W], the category of each pixel or `IGNORED`, for segmentation.
    """

    name: str
    picture: Image
    objects: tuple[TrueObject, ...] = ()
    labels: LabelMap | None = None

    @property
    def size(self) -> ImageSize:
        """Size of the image."""
        return ImageSize(self.picture.width, self.picture.height)


class TruthSource(ABC):
    """A sized sequence of images with their truth, read on demand. Can be pickled.

    Attributes:
        categories: Names of the categories.
        has_masks: Whether its objects have masks.
        digest: Digest of the content as hex.
    """

    categories: tuple[str, ...]
    has_masks: bool
    digest: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> TrueImage:
        """Return an image.

        Raises:
            InvalidFieldError: This one is broken; the field names the file and the place in it.
        """
