"""What scenes say of themselves is what their pixels say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from arno.training.world import CATEGORIES, FULL, TINY, Category, Scene, Split, Thing, draw, imagine
from arno.training.world.sprites import VISIBLE_ALPHA, silhouette, sprite
from arno.vocabulary import Box, ImageSize
from PIL import Image, ImageDraw

SIZE = ImageSize(480, 400)
SEEDS = [Split.TEST.seed(index) for index in range(12)]
# What an eye sees of a change, of 255: half of the weakest contrast between a glyph and its ground.
_SEEN = 12


def _changed(one: Scene, other: Scene) -> np.ndarray:
    first, second = (np.asarray(draw(scene, SIZE), dtype=int) for scene in (one, other))
    return np.abs(first - second).max(axis=2) > _SEEN


def _pixels_of(scene: Scene, thing: Thing) -> np.ndarray:
    """Where the picture changes when this object is painted in another colour."""
    at = scene.painted.index(thing.placement)

    def with_tint(tint: tuple[float, float, float]) -> Scene:
        painted = list(scene.painted)
        painted[at] = dataclasses.replace(thing.placement, tint=tint)
        return dataclasses.replace(scene, painted=tuple(painted))

    return _changed(with_tint((255.0, 0.0, 255.0)), with_tint((0.0, 255.0, 0.0)))


def _mask(thing: Thing) -> np.ndarray:
    image = Image.new("L", (SIZE.width_px, SIZE.height_px))
    for polygon in thing.outline:
        corners = [(p.x * SIZE.width_px, p.y * SIZE.height_px) for p in polygon.points]
        ImageDraw.Draw(image).polygon(corners, fill=1)
    return np.asarray(image, dtype=bool)


def _tight(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _sides_px(box: Box) -> tuple[float, float, float, float]:
    width, height = SIZE.width_px, SIZE.height_px
    return box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height


@pytest.mark.parametrize("options", [TINY, FULL], ids=["tiny", "full"])
@pytest.mark.parametrize("seed", SEEDS[:5])
def test_boxes_are_tight_around_what_is_seen(seed: int, options) -> None:
    scene = imagine(seed, options=options)
    for thing in scene.things:
        tight = _tight(_pixels_of(scene, thing))
        # Sprites have about 128 pixels a side; half-transparent rims are seen a pixel further.
        slack = 2 + 1.5 * max(
            (thing.placement.box.x1 - thing.placement.box.x0) * SIZE.width_px / 128,
            (thing.placement.box.y1 - thing.placement.box.y0) * SIZE.height_px / 128,
        )
        assert np.allclose(tight, _sides_px(thing.box), atol=slack), thing.category.label


@pytest.mark.parametrize("options", [TINY, FULL], ids=["tiny", "full"])
def test_outlines_are_the_pixels_that_are_seen(options) -> None:
    overlaps = []
    for seed in SEEDS[:4]:
        scene = imagine(seed, options=dataclasses.replace(options, outline_points_max=24))
        for thing in scene.things:
            seen, said = _pixels_of(scene, thing), _mask(thing)
            overlaps.append((seen & said).sum() / (seen | said).sum())
    assert np.mean(overlaps) > 0.87
    assert min(overlaps) > 0.6


def test_what_is_in_front_hides_what_is_behind() -> None:
    hidden = [
        (scene, thing)
        for scene in (imagine(seed, options=FULL) for seed in SEEDS)
        for thing in scene.things
        if thing.seen.part < 0.8
    ]
    assert len(hidden) > 3
    for scene, thing in hidden[:4]:
        alone = dataclasses.replace(scene, painted=(thing.placement,))
        share = _pixels_of(scene, thing).sum() / _pixels_of(alone, thing).sum()
        assert share == pytest.approx(thing.seen.part, abs=0.1)


@pytest.mark.parametrize("options", [TINY, FULL], ids=["tiny", "full"])
def test_words_are_printed_in_their_quads_and_stand_out(options) -> None:
    count = 0
    for seed in SEEDS:
        scene = imagine(seed, options=options)
        bare = dataclasses.replace(scene, words=())
        for word in scene.words:
            inkless = dataclasses.replace(word, ink=word.plate or (0.0, 0.0, 0.0))
            ground = dataclasses.replace(scene, words=(inkless,)) if word.plate else bare
            letters = _changed(dataclasses.replace(scene, words=(word,)), ground)
            count += 1
            tight, truth = np.array(_tight(letters)), np.array(_sides_px(word.region))
            inwards = (tight - truth) * (1, 1, -1, -1)
            assert (inwards > -2.5).all(), word.text
            if word.angle_degrees == 0:
                left, top, right, bottom = tight
                assert (inwards < 2.5).all(), word.text
                assert 0.2 < letters[top:bottom, left:right].mean() < 0.9
            around = np.mean(word.plate) if word.plate else scene.background.brightness
            assert abs(np.mean(word.ink) - around) > 60
    assert count > 6


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.label)
def test_a_sprite_fills_its_box_to_every_side(category: Category) -> None:
    drawn = sprite(category.glyph, mirrored=False)
    alpha = np.asarray(drawn.image.getchannel("A")) >= VISIBLE_ALPHA
    left, top, right, bottom = _tight(alpha)
    assert (right - left, bottom - top) == (drawn.width_px, drawn.height_px)
    assert (silhouette(category.glyph, mirrored=False) == alpha[top:bottom, left:right]).all()


def test_a_painted_object_has_the_hue_of_its_colour() -> None:
    for seed in SEEDS:
        scene = imagine(seed)
        for thing in scene.things:
            if thing.placement.tint is None:
                assert thing.colour == thing.category.colour
                continue
            assert thing.colour not in scene.background.colours
            seen = np.asarray(draw(scene, SIZE), dtype=float)[_mask(thing)].mean(axis=0)
            tint = np.array(thing.placement.tint)
            likeness = seen @ tint / np.linalg.norm(seen) / np.linalg.norm(tint)
            assert likeness > 0.93, (seed, thing.category.label, thing.colour)
