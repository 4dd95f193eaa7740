"""Images of heads as tensors: squeezed, mirrored, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from arno.engine.checkpoints.config import PixelRecipe
from arno.training.heads.batches import row_of
from arno.training.heads.truth import TrueImage, TrueObject
from arno.vocabulary import Box
from PIL import Image

RECIPE = PixelRecipe(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1 / 255, Image.Resampling.NEAREST)


def image(*boxes: Box, crowd: bool = False) -> TrueImage:
    picture = np.zeros((16, 32, 3), dtype=np.uint8)
    picture[:, :4] = 255
    mask = np.zeros((16, 32), dtype=bool)
    mask[4:8, :8] = True
    objects = tuple(TrueObject(1, box, mask, crowd) for box in boxes)
    return TrueImage("a", Image.fromarray(picture), objects, mask.astype(np.uint8))


def test_box_and_mask_are_squeezed_with_the_image():
    row = row_of(image(Box(0, 4, 8, 8)), RECIPE, mirrored=False)
    assert row.target["boxes"].tolist() == [[0, 2, 2, 4]]
    assert row.target["labels"].tolist() == [2]
    assert row.target["masks"][0].nonzero().tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]


def test_everything_is_mirrored_together():
    row = row_of(image(Box(0, 4, 8, 8)), RECIPE, mirrored=True)
    assert row.target["boxes"].tolist() == [[6, 2, 8, 4]]
    assert row.target["masks"][0].nonzero()[:, 1].unique().tolist() == [6, 7]
    assert row.pixels[0, 0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert row.labels is not None
    assert row.labels[2].tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    "left_out", [image(Box(0, 4, 2, 8)), image(Box(0, 4, 8, 8), crowd=True), image()]
)
def test_slivers_and_crowds_are_not_learned(left_out):
    target = row_of(left_out, RECIPE, mirrored=False).target
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 8, 8)
