"""Figures of boxes are COCO's: equal to those of pycocotools, whatever is found."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence

import pytest
from arno.training.evaluation.metrics.detection import Detection, SeenImage, coco_detection
from arno.vocabulary import Box, ImageSize, Region, area
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = ImageSize(200, 100)


def box(label: str, x: float, y: float, width: float, height: float, score: float = 0.5) -> Region:
    return Region(label, Box(x, y, x + width, y + height), score=score)


def entry(region: Region, image_id: int, category_id: int) -> dict[str, object]:
    shape = region.shape
    assert isinstance(shape, Box)
    sides = [shape.x0, shape.y0, shape.x1 - shape.x0, shape.y1 - shape.y0]
    entry = {"image_id": image_id, "category_id": category_id, "bbox": sides}
    return entry | {"area": area(shape)}


def reference(images: Sequence[SeenImage], names: Sequence[str]) -> Detection:
    """What pycocotools says, with all categories in its list."""
    ids = {name: number for number, name in enumerate(names, start=1)}
    truths: list[dict[str, object]] = []
    found: list[dict[str, object]] = []
    for number, image in enumerate(images, start=1):
        for crowd, regions in enumerate((image.true, image.ignored)):
            truths += [
                entry(one, number, ids[one.label]) | {"iscrowd": crowd, "id": len(truths) + at}
                for at, one in enumerate(regions, start=1)
            ]
        found += [entry(one, number, ids[one.label]) | {"score": one.score} for one in image.found]
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            "images": [{"id": number} for number, _ in enumerate(images, start=1)],
            "annotations": truths,
            "categories": [{"id": number, "name": name} for name, number in ids.items()],
        }
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    recall = evaluation.eval["recall"][0, :, 0, -1]
    return Detection(
        map_50=evaluation.stats[1],
        map_50_95=evaluation.stats[0],
        recall_50=recall[recall > -1].mean(),
        recall_50_95=evaluation.stats[8],
    )


def assert_equal(one: Detection, other: Detection) -> None:
    for name in ("map_50", "map_50_95", "recall_50", "recall_50_95"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9), name


# Coarse, so that places and scores are often the same.
sides = st.integers(1, 6).map(lambda number: number * 10.0)
regions = st.builds(
    box,
    st.sampled_from(["cat", "dog", "owl"]),
    sides,
    sides,
    sides,
    sides,
    st.sampled_from([0.1, 0.5, 0.9]),
)
some = st.lists(regions, max_size=6)
seen = st.builds(SeenImage, st.just(SIZE), st.lists(regions, min_size=1, max_size=6), some, some)


@settings(max_examples=60, deadline=None)
@given(images=st.lists(seen, min_size=1, max_size=4))
def test_figures_are_those_of_pycocotools_with_ties_crowds_and_images_without_findings(images):
    if any(image.found for image in images):
        assert_equal(coco_detection(images), reference(images, ["cat", "dog", "owl"]))


def test_no_more_than_a_hundred_boxes_of_an_image_count():
    rng = random.Random(3)
    true = [box("cat", x * 20, y * 10, 15, 8) for x in range(9) for y in range(9)]
    found = [
        box("cat", rng.uniform(0, 180), rng.uniform(0, 90), 15, 8, rng.random()) for _ in range(60)
    ]
    # The right ones have the lowest scores: 60 wrong boxes leave place for 40 of them.
    found += [box("cat", one.shape.x0, one.shape.y0, 15, 8, 0.0) for one in true]
    images = [SeenImage(SIZE, true, found)]
    assert_equal(coco_detection(images), reference(images, ["cat"]))


def test_right_box_before_a_wrong_one_is_better_than_behind_it():
    true = [box("cat", 0, 0, 50, 50)]
    right, wrong = (lambda score: box("cat", 0, 0, 50, 50, score)), box("cat", 90, 0, 50, 50, 0.5)
    before = coco_detection([SeenImage(SIZE, true, [right(0.9), wrong])])
    behind = coco_detection([SeenImage(SIZE, true, [wrong, right(0.1)])])
    assert before.map_50 == pytest.approx(1)
    assert behind.map_50 == pytest.approx(0.5)


def test_overlap_of_sixty_percent_counts_for_three_of_ten_thresholds():
    found = [box("cat", 0, 0, 60, 100, 0.9)]
    result = coco_detection([SeenImage(SIZE, [box("cat", 0, 0, 100, 100)], found)])
    assert (result.map_50, result.map_50_95) == (pytest.approx(1), pytest.approx(0.3))
    assert (result.recall_50, result.recall_50_95) == (pytest.approx(1), pytest.approx(0.3))


def test_boxes_in_a_crowd_are_neither_right_nor_wrong():
    true, crowd = [box("cat", 0, 0, 20, 20)], [box("cat", 100, 0, 100, 100)]
    inside = [box("cat", x, 10, 10, 10, 0.9) for x in (110, 130, 150)]
    found = [*inside, box("cat", 0, 0, 20, 20, 0.1)]
    assert coco_detection([SeenImage(SIZE, true, found, crowd)]).map_50 == pytest.approx(1)
    assert coco_detection([SeenImage(SIZE, true, found)]).map_50 == pytest.approx(0.25)


def test_labels_agree_without_case_and_are_not_asked_for_of_proposals():
    true, found = [box("Traffic  light", 0, 0, 50, 50)], [box("traffic light", 0, 0, 50, 50)]
    assert coco_detection([SeenImage(SIZE, true, found)]).map_50 == pytest.approx(1)
    other = [box("", 0, 0, 50, 50)]
    assert coco_detection([SeenImage(SIZE, true, other)]).map_50 == 0
    assert coco_detection([SeenImage(SIZE, true, other)], labelled=False).recall_50 == 1


def test_category_that_the_truth_does_not_know_costs_nothing():
    true, right = [box("cat", 0, 0, 50, 50)], box("cat", 0, 0, 50, 50, 0.5)
    found = [right, box("unicorn", 60, 0, 50, 50, 0.9)]
    assert coco_detection([SeenImage(SIZE, true, found)]).map_50 == pytest.approx(1)


@pytest.mark.parametrize(
    "image",
    [
        SeenImage(SIZE, [], []),
        SeenImage(SIZE, [box("cat", 0, 0, 5, 5)], []),
        SeenImage(SIZE, [], [box("cat", 0, 0, 5, 5)]),
        SeenImage(SIZE, [box("cat", 0, 0, 5, 5)], [Region("cat", ())]),
    ],
    ids=["nothing", "nothing found", "nothing there", "region without a shape"],
)
def test_nothing_to_compare_is_zero(image):
    assert coco_detection([image]) == Detection(0, 0, 0, 0)
