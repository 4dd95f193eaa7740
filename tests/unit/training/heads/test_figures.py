"""The figures of heads, by hand and against pycocotools."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from arno.engine.heads.findings import FoundObject
from arno.engine.heads.segmentation import IGNORED
from arno.training.heads.figures import ObjectTally, PixelTally
from arno.training.heads.truth import TrueImage, TrueObject
from arno.vocabulary import Box
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIDE = 32


def square(x: int, y: int, side: int) -> tuple[Box, np.ndarray]:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return Box(x, y, x + side, y + side), mask


def tally() -> ObjectTally:
    found = ObjectTally(("cup", "hat"), has_masks=True)
    rng = np.random.default_rng(3)
    for number in range(12):
        true, guesses = [], []
        for category in (0, 1, 1):
            x, y, side = (int(one) for one in rng.integers((0, 0, 6), (20, 20, 12)))
            box, mask = square(x, y, side)
            true.append(TrueObject(category, box, mask))
            near, seen = square(x + int(rng.integers(0, 4)), y, side)
            guesses.append(
                FoundObject(category, near, float(rng.random()), seen.astype(np.float32))
            )
        image = TrueImage("a", Image.new("RGB", (SIDE, SIDE)), tuple(true))
        found.add(number, image, guesses)
    return found


@pytest.mark.parametrize(("name", "kind"), [("box", "bbox"), ("mask", "segm")])
def test_average_precision_is_that_of_pycocotools(name, kind):
    counted = tally()
    figures = counted.figures()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = counted._truth()
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(copy.deepcopy(counted.found)), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert 0.1 < figures[f"{name}_map"] < 0.9
    assert figures[f"{name}_map"] == pytest.approx(judged.stats[0], abs=1e-6)
    assert figures[f"{name}_map_50"] == pytest.approx(judged.stats[1], abs=1e-6)


def test_nothing_found_is_nothing_right():
    counted = ObjectTally(("cup",), has_masks=False)
    box, _ = square(2, 2, 5)
    image = TrueImage("a", Image.new("RGB", (SIDE, SIDE)), (TrueObject(0, box, None),))
    counted.add(0, image, [])
    assert counted.figures() == {"box_map": 0.0, "box_map_50": 0.0}


def test_iou_of_pixels_is_counted_over_all_images_and_without_ignored_ones():
    counted = PixelTally(("floor", "wall", "door"))
    counted.add(np.array([[0, 0, 1, IGNORED]], dtype=np.uint8), np.array([[0, 1, 1, 2]]))
    counted.add(np.array([[1, 1]], dtype=np.uint8), np.array([[1, 1]]))
    assert counted.by_category() == {"floor": 0.5, "wall": 0.75}
    assert counted.figures() == {"miou": 0.625, "pixel_accuracy": 0.8}
