"""Semantic masks in files: for each image one of equal size whose pixels are category numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from arno.engine.heads.segmentation import IGNORED
from arno.errors import InvalidFieldError
from arno.training.data.image_files import ImageFile
from arno.training.heads.truth import CATEGORIES_MAX, LabelMap, TrueImage, TruthSource
from arno.vocabulary import ImageSize

_INDEXED: Final = ("L", "P")
"""Pillow's modes of a byte a pixel: grey levels, and numbers of a palette."""
_IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class MaskFiles(TruthSource):
    """A folder of PNG masks, a folder of images with the same names, and a list of categories."""

    has_masks = False

    def __init__(self, masks: Path, images: Path, labels: Path) -> None:
        """Pair the files.

        Args:
            masks: The folder of the masks.
            images: The folder of the images.
            labels: A text file with a category a line; a pixel's number is its line, from 0.

        Raises:
            InvalidFieldError: A folder or the list cannot be read, or a mask has no image.
        """
        self.categories = _categories(labels)
        self._masks = _listed(masks, (".png",))
        pictures = {path.stem: path for path in _listed(images, _IMAGE_SUFFIXES)}
        missing = [path.name for path in self._masks if path.stem not in pictures]
        if missing:
            raise InvalidFieldError(
                field=f"data: images={images}",
                problem=f"{len(missing)} masks have no image of their name",
                sent=", ".join(missing[:5]),
            )
        self._pictures = [pictures[path.stem] for path in self._masks]
        self.digest = self._digest()

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, index: int) -> TrueImage:
        path = self._masks[index]
        picture = ImageFile(self._pictures[index], str(self._pictures[index].parent), "image")()
        labels = _read(path)
        size = ImageSize(picture.width, picture.height)
        if labels.shape != (size.height_px, size.width_px):
            raise InvalidFieldError(
                field=str(path),
                problem="the mask is not as large as its image",
                limit=f"{size.width_px}, {size.height_px}",
                sent=f"{labels.shape[1]}, {labels.shape[0]}",
            )
        unknown = np.unique(labels[(labels >= len(self.categories)) & (labels != IGNORED)])
        if unknown.size:
            raise InvalidFieldError(
                field=str(path),
                problem="a pixel has a number that no category has",
                limit=f"0 to {len(self.categories) - 1}, or {IGNORED} for pixels to ignore",
                sent=", ".join(map(str, unknown[:5].tolist())),
            )
        return TrueImage(path.name, picture, labels=labels)

    def _digest(self) -> str:
        digest = hashlib.sha256("\n".join(self.categories).encode())
        for mask, picture in zip(self._masks, self._pictures, strict=True):
            digest.update(f"\0{mask.name}\0{picture.stat().st_size}\0".encode())
            digest.update(mask.read_bytes())
        return digest.hexdigest()


def _categories(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())))
    except (OSError, ValueError) as fault:
        raise InvalidFieldError(
            field=f"data: labels={path}", problem=f"cannot be read: {fault}"
        ) from fault
    if not names or len(set(names)) < len(names) or len(names) > CATEGORIES_MAX:
        raise InvalidFieldError(
            field=f"data: labels={path}",
            problem="needs names, each once, one a line",
            limit=f"1 to {CATEGORIES_MAX}",
            sent=str(len(names)),
        )
    return names


def _listed(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    except OSError as fault:
        problem = f"cannot be read: {fault.strerror or fault}"
        raise InvalidFieldError(field=f"data: {folder}", problem=problem) from fault
    if not found:
        problem = "holds no file that can be used"
        raise InvalidFieldError(field=f"data: {folder}", problem=problem, limit=", ".join(suffixes))
    return found


def _read(path: Path) -> LabelMap:
    try:
        with Image.open(path) as mask:
            if mask.mode not in _INDEXED:
                raise InvalidFieldError(
                    field=str(path),
                    problem="a mask has one byte a pixel, the number of its category",
                    limit="a PNG of grey levels or with a palette",
                    sent=mask.mode,
                )
            return np.array(mask, dtype=np.uint8)
    except (OSError, UnidentifiedImageError) as fault:
        problem = f"cannot be read: {fault}"
        raise InvalidFieldError(field=str(path), problem=problem) from fault
