"""Turn images and their truth into the tensors of a step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.encoding.image_preparation import make_pixels
from arno.training.heads.truth import TrueImage, TrueObject, TruthSource
from arno.training.trainer.batches import RankBatches
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings

_LEAST_SIDE_PX = 1.0
"""Boxes that are thinner than this after the image was squeezed are not learned from."""


@dataclass(frozen=True, slots=True)
class HeadRow:
    """An image as tensors.

    Shapes: pixels [3, S, S] float32; labels [S, S] int64, of segmentation. Of a target: boxes
    [N, 4] in pixels of the square, labels [N] from 1, masks [N, S, S] uint8.
    """

    pixels: torch.Tensor
    target: dict[str, torch.Tensor]
    labels: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class HeadBatch:
    """Images as tensors: pixels [B, 3, S, S], B targets, labels [B, S, S] of segmentation."""

    pixels: torch.Tensor
    targets: tuple[dict[str, torch.Tensor], ...]
    labels: torch.Tensor | None

    def to(self, device: torch.device) -> HeadBatch:
        """Return the batch on a device."""
        return HeadBatch(
            self.pixels.to(device),
            tuple({name: one.to(device) for name, one in each.items()} for each in self.targets),
            None if self.labels is None else self.labels.to(device),
        )


class HeadBatches(RankBatches[HeadRow, HeadBatch]):
    """Images with their truth, in batches of equal numbers of images."""

    def __init__(
        self,
        source: TruthSource,
        recipe: PixelRecipe,
        group: ProcessGroup,
        settings: TrainSettings,
    ) -> None:
        """Take the images, and how they become pixels."""
        super().__init__(len(source), group, settings)
        self._source, self._recipe = source, recipe
        self._seed, self._flip = settings.seed, settings.flip

    def row(self, number: int, position: int) -> HeadRow:
        """Return an image as tensors, mirrored or not as its position decides."""
        image = self._source[number]
        # Of the position alone: a resumed run mirrors the same images.
        dice = random.Random(self._seed * 1_000_003 + position)  # noqa: S311 - no secret
        return row_of(image, self._recipe, mirrored=self._flip and dice.random() < 0.5)

    def token_count(self, row: HeadRow) -> int:
        """Return 1: each image counts as much as any other."""
        del row
        return 1

    def together(self, rows: Sequence[HeadRow]) -> HeadBatch:
        """Return rows as one batch."""
        labels = [row.labels for row in rows if row.labels is not None]
        return HeadBatch(
            torch.stack([row.pixels for row in rows]),
            tuple(row.target for row in rows),
            torch.stack(labels) if labels else None,
        )


def row_of(image: TrueImage, recipe: PixelRecipe, *, mirrored: bool) -> HeadRow:
    """Return an image as tensors."""
    pixels = make_pixels(image.picture, recipe)
    labels = None
    if image.labels is not None:
        labels = torch.from_numpy(_squeezed(image.labels, recipe.side_px)).long()
        labels = labels.flip(-1) if mirrored else labels
    target = _target(image, recipe.side_px, mirrored=mirrored)
    return HeadRow(pixels.flip(-1) if mirrored else pixels, target, labels)


def _target(image: TrueImage, side_px: int, *, mirrored: bool) -> dict[str, torch.Tensor]:
    x, y = side_px / image.size.width_px, side_px / image.size.height_px
    boxes, labels = [], []
    masks: list[torch.Tensor] = []
    for one in image.objects:
        left, top, right, bottom = one.box.x0 * x, one.box.y0 * y, one.box.x1 * x, one.box.y1 * y
        if one.crowd or min(right - left, bottom - top) < _LEAST_SIDE_PX:
            continue
        boxes.append(
            [side_px - right, top, side_px - left, bottom]
            if mirrored
            else [left, top, right, bottom]
        )
        labels.append(one.category + 1)
        masks += _mask(one, side_px, mirrored=mirrored)
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }
    if masks or not boxes:
        empty = torch.zeros(0, side_px, side_px, dtype=torch.uint8)
        target["masks"] = torch.stack(masks) if masks else empty
    return target


def _mask(one: TrueObject, side_px: int, *, mirrored: bool) -> list[torch.Tensor]:
    if one.mask is None:
        return []
    mask = torch.from_numpy(_squeezed(one.mask.astype(np.uint8), side_px))
    return [mask.flip(-1) if mirrored else mask]


def _squeezed(numbers: Any, side_px: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return numbers [H, W] as a square, each from the nearest pixel."""
    square = Image.fromarray(numbers).resize((side_px, side_px), Image.Resampling.NEAREST)
    return np.array(square, dtype=np.uint8)
