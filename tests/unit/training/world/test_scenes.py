"""Scenes are what their seed says, and keep to the limits of their options."""

from __future__ import annotations

import itertools

import pytest
from arno.training.world import CATEGORIES, FULL, PLAIN, TINY, Scene, Split, draw, imagine
from arno.training.world.lettering import FACES
from arno.training.world.placement import covered
from arno.vocabulary import ImageSize

SEEDS = [Split.TEST.seed(index) for index in range(12)]
ALL_OPTIONS = {"plain": PLAIN, "tiny": TINY, "full": FULL}
OPTIONS = pytest.mark.parametrize("options", ALL_OPTIONS.values(), ids=ALL_OPTIONS)


@OPTIONS
@pytest.mark.parametrize("seed", SEEDS[:6])
def test_a_seed_always_gives_the_same_scene_and_the_same_pixels(seed: int, options) -> None:
    assert imagine(seed, options=options) == imagine(seed, options=options)
    size = ImageSize(96, 64)
    first, second = (draw(imagine(seed, options=options), size) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_other_seeds_give_other_scenes() -> None:
    assert len({imagine(seed) for seed in SEEDS}) == len(SEEDS)


def test_harder_options_give_other_scenes() -> None:
    assert imagine(SEEDS[0], options=FULL) != imagine(SEEDS[0], options=TINY)


@OPTIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_objects_keep_to_their_limits_and_to_reading_order(seed: int, options) -> None:
    scene = imagine(seed, options=options)
    assert 1 <= len(scene.things) <= options.objects_max
    for thing in scene.things:
        box = thing.placement.box
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        for side in (box.x1 - box.x0, box.y1 - box.y0):
            assert options.side_min - 1e-9 <= side <= options.side_max + 1e-9
        assert thing.seen.part >= options.visible_min
        assert thing.category in options.categories
    edges = [(thing.box.x0, thing.box.y0) for thing in scene.things]
    assert edges == sorted(edges)
    for one, other in itertools.combinations(scene.painted, 2):
        assert one.covers(other) <= options.covered_max


@OPTIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_words_stand_free_inside_the_picture(seed: int, options) -> None:
    scene = imagine(seed, options=options)
    assert len(scene.words) <= options.words_max
    for word in scene.words:
        assert len(word.text) <= options.letters_max
        assert len(word.letters) == len(word.text)
        assert abs(word.angle_degrees) <= options.rotation_max_degrees
        for point in (*word.quad, *word.letters):
            assert 0 <= point.x <= 1
            assert 0 <= point.y <= 1
        for placement in scene.painted:
            assert covered(word.box, placement.box) == 0
    for one, other in itertools.combinations(scene.words, 2):
        assert covered(one.box, other.box) == 0


def test_the_world_is_wide() -> None:
    scenes = [imagine(Split.TEST.seed(index), options=FULL) for index in range(150)]
    things = [thing for scene in scenes for thing in scene.things]
    words = [word for scene in scenes for word in scene.words]
    assert len(CATEGORIES) >= 40
    assert {thing.category for thing in things} == set(CATEGORIES)
    assert len({thing.colour for thing in things}) >= 10
    assert max(len(scene.things) for scene in scenes) >= 11
    assert any(thing.seen.part < 0.6 for thing in things)
    assert any(len(thing.outline) > 1 for thing in things)
    assert {word.face for word in words} == set(range(len(FACES)))
    assert max(abs(word.angle_degrees) for word in words) > 80
    assert len({scene.background.place for scene in scenes}) == 13


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


def test_an_aspect_asked_for_is_the_scenes() -> None:
    scene: Scene = imagine(SEEDS[0], aspect=0.5)
    assert scene.aspect == 0.5
