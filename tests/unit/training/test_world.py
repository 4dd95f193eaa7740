"""Scenes are what their seed says, and their truth is what the pixels say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from arno.training.world import CATEGORIES, Placement, Scene, Split, caption, imagine, render
from arno.training.world.sprites import VISIBLE_ALPHA, sprite
from PIL import ImageChops

SEEDS = [Split.TEST.seed(index) for index in range(12)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_always_gives_the_same_scene_and_the_same_pixels(seed: int) -> None:
    assert imagine(seed) == imagine(seed)
    first, second = (render(imagine(seed), 96, 64) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()


def test_other_seeds_give_other_scenes() -> None:
    assert len({imagine(seed) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_objects_keep_to_their_limits_and_to_reading_order(seed: int) -> None:
    scene = imagine(seed)
    assert 1 <= len(scene.placements) <= 3
    for one in scene.placements:
        assert 0 <= one.x0 < one.x1 <= 1
        assert 0 <= one.y0 < one.y1 <= 1
        assert one.x1 - one.x0 + 1e-9 >= 0.2
        assert one.x1 - one.x0 <= 0.5 + 1e-9
    assert list(scene.placements) == sorted(scene.placements, key=lambda one: (one.x0, one.y0))
    for one, other in itertools.combinations(scene.placements, 2):
        assert one.covers(other) <= 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_truth_boxes_are_tight_around_what_was_drawn(seed: int) -> None:
    scene = imagine(seed)
    for placement in scene.placements:
        alone = Scene(scene.seed, scene.aspect, scene.background, (placement,))
        empty = Scene(scene.seed, scene.aspect, scene.background, ())
        picture = render(alone, 256, 200)
        changed = ImageChops.difference(picture.image, render(empty, 256, 200).image)
        seen = changed.convert("L").point(lambda value: 255 if value > 12 else 0).getbbox()
        assert seen is not None
        box = picture.objects[0].box
        # A glyph of the background's own colour may vanish at a tip, hence 4 px and not 1 inwards.
        for edge, truth, outwards in zip(
            seen, (box.x0, box.y0, box.x1, box.y1), (-1, -1, 1, 1), strict=True
        ):
            assert -12 <= (edge - truth) * outwards <= 2


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.label)
def test_a_sprite_fills_its_box_to_every_side(category: object) -> None:
    drawn = sprite(category.glyph, mirrored=False)
    alpha = np.asarray(drawn.image.getchannel("A")) >= VISIBLE_ALPHA
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    assert columns[-1] - columns[0] + 1 == drawn.width_px
    assert rows[-1] - rows[0] + 1 == drawn.height_px


def test_labels_and_glyphs_are_unique_single_words() -> None:
    assert len({category.label for category in CATEGORIES}) == len(CATEGORIES)
    assert len({category.glyph for category in CATEGORIES}) == len(CATEGORIES)
    assert all(category.label.isalpha() for category in CATEGORIES)


def test_no_seed_is_in_two_splits() -> None:
    for one, other in itertools.combinations(Split, 2):
        assert one.value.stop <= other.value.start or other.value.stop <= one.value.start


@pytest.mark.parametrize("index", [-1, 10**6])
def test_a_seed_of_another_split_is_refused(index: int) -> None:
    with pytest.raises(IndexError):
        Split.TEST.seed(index)


def test_a_caption_counts_each_kind_once() -> None:
    by_label = {category.label: category for category in CATEGORIES}
    background = imagine(SEEDS[0]).background

    def placed(label: str) -> Placement:
        return Placement(by_label[label], 0, 0, 0.3, 0.3, mirrored=False, brightness=1.0)

    scene = Scene(0, 1.0, background, (placed("cat"), placed("apple"), placed("cat")))
    assert caption(scene).startswith("Two cats and an apple on a")
    assert caption(scene).endswith(f" {background.colour.name} background.")
