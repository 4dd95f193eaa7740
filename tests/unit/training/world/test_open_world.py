"""The open world: any background, things that are no object, pictures with nothing in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from arno.training.data.world import WorldScenes, samples
from arno.training.world import (
    CATEGORIES,
    HELD_OUT,
    HELD_OUT_ABSENT,
    HELD_OUT_EMPTY,
    OPEN,
    TINY,
    WORLDS,
    Scene,
    Split,
    WorldOptions,
    draw,
    imagine,
)
from arno.training.world.captions import detailed_caption, more_detailed_caption, short_caption
from arno.training.world.categories import HELD_OUT_GLYPHS, TRAINED_GLYPHS
from arno.training.world.families import (
    HELD_OUT_FAMILIES,
    TRAINED_FAMILIES,
    Family,
    paint_family,
)
from arno.training.world.finish import Finish, apply_finish
from arno.training.world.placement import covered
from arno.training.world.sprites import sprite
from arno.vocabulary import GroundingAnswer, ImageSize, Task, encode
from PIL import Image

_SIZE = ImageSize(96, 64)


def _scenes(options: WorldOptions, count: int = 80) -> list[Scene]:
    return [imagine(Split.TEST.seed(index), options=options) for index in range(count)]


def _families(scenes: list[Scene]) -> set[Family]:
    patterns = {scene.background.pattern for scene in scenes}
    return {pattern for pattern in patterns if isinstance(pattern, Family)}


def _glyphs(scenes: list[Scene]) -> set[str]:
    drawn = {one.drawn for scene in scenes for one in scene.distractors}
    return {one for one in drawn if isinstance(one, str)}


def test_scenes_of_the_test_split_are_those_that_earlier_models_were_measured_on() -> None:
    digest = WorldScenes(seed=0, count=40, split=Split.TEST).digest
    assert digest == "68ec3db3aecd23d288457b412ce1815271526ecbfd9b402a6a577f5cf177df5a"


def test_training_never_draws_what_is_held_out() -> None:
    trained, held_out = _scenes(OPEN), _scenes(HELD_OUT)
    assert _families(trained) == set(TRAINED_FAMILIES)
    assert _families(held_out) == set(HELD_OUT_FAMILIES)
    assert all(isinstance(scene.background.pattern, Family) for scene in held_out)
    assert _glyphs(trained)
    assert _glyphs(trained) <= set(TRAINED_GLYPHS)
    assert _glyphs(held_out)
    assert _glyphs(held_out) <= set(HELD_OUT_GLYPHS)


def test_no_distracting_glyph_is_an_object_or_in_both_parts() -> None:
    glyphs = [*TRAINED_GLYPHS, *HELD_OUT_GLYPHS, *(one.glyph for one in CATEGORIES)]
    assert len(set(glyphs)) == len(glyphs)
    for glyph in (*TRAINED_GLYPHS, *HELD_OUT_GLYPHS):
        sprite(glyph, mirrored=False)  # raises where the font has none


def test_some_open_scenes_are_empty_and_most_are_not() -> None:
    empty = sum(not scene.things for scene in _scenes(OPEN, 200))
    assert 10 <= empty <= 60
    assert not any(scene.things for scene in _scenes(HELD_OUT_EMPTY, 20))
    assert all(scene.things for scene in _scenes(HELD_OUT, 20))


def test_distractors_hide_no_word_and_lie_beneath_the_objects() -> None:
    seen = 0
    for scene in _scenes(OPEN):
        for distractor in scene.distractors:
            seen += 1
            assert all(covered(distractor.box, word.box) == 0 for word in scene.words)
            for placement in scene.painted:
                assert covered(distractor.box, placement.box) <= 0.3
    assert seen > 30


@pytest.mark.parametrize("size", [ImageSize(128, 128), ImageSize(320, 181)], ids=str)
@pytest.mark.parametrize("family", Family)
def test_a_family_fills_a_picture_of_any_size_and_is_always_the_same(
    family: Family, size: ImageSize
) -> None:
    shades = ((250.0, 20.0, 40.0), (10.0, 90.0, 200.0))
    pictures = [
        paint_family(family, shades, seed, size.width_px, size.height_px) for seed in (7, 8)
    ]
    again = paint_family(family, shades, 7, size.width_px, size.height_px)
    assert pictures[0].shape == (size.height_px, size.width_px, 3)
    assert np.isfinite(pictures[0]).all()
    assert pictures[0].std() > 5
    assert np.array_equal(pictures[0], again)
    assert not np.array_equal(pictures[0], pictures[1])


@pytest.mark.parametrize("options", [OPEN, HELD_OUT, HELD_OUT_EMPTY], ids=["open", "out", "empty"])
def test_a_seed_always_gives_the_same_pixels(options: WorldOptions) -> None:
    for index in range(6):
        seed = Split.TEST.seed(index)
        first, second = (draw(imagine(seed, options=options), _SIZE) for _ in range(2))
        assert first.tobytes() == second.tobytes()


def test_a_finish_changes_the_picture_and_keeps_its_size() -> None:
    picture = draw(imagine(Split.TEST.seed(0)), _SIZE)
    blurred = apply_finish(picture, Finish(0.02, 1.0, 0.0, None))
    assert np.asarray(blurred).std() < np.asarray(picture).std()
    lighter = apply_finish(picture, Finish(0.0, 1.0, 40.0, None))
    assert np.asarray(lighter).mean() > np.asarray(picture).mean() + 10
    file = apply_finish(picture, Finish(0.0, 1.0, 0.0, 30))
    assert file.size == picture.size
    assert file.tobytes() != picture.tobytes()
    same = apply_finish(picture, Finish(0.0, 1.0, 0.0, None))
    assert same.tobytes() == picture.tobytes()
    assert isinstance(file, Image.Image)


def test_captions_of_an_empty_scene_name_no_object() -> None:
    scene = imagine(Split.TEST.seed(0), options=replace(TINY, empty_part=1.0))
    place = scene.background.place
    assert short_caption(scene).text == f"Nothing {place}."
    assert detailed_caption(scene).text == f"The image shows nothing {place}."
    assert more_detailed_caption(scene).text.startswith(f"All is {place}.")
    assert short_caption(scene).phrases == ()


@pytest.mark.parametrize("task", [Task.OD, Task.REGION_PROPOSAL, Task.DENSE_REGION_CAPTION])
def test_detection_answers_nothing_where_nothing_is(task: Task) -> None:
    for index in range(8):
        (sample,) = samples(Split.TEST, index, (task,), "held-out-empty")
        assert encode(sample.answer, sample.size) == ""


@pytest.mark.parametrize("index", range(20))
def test_an_absent_phrase_is_not_in_the_picture_and_has_no_place(index: int) -> None:
    scene = imagine(Split.TEST.seed(index), options=HELD_OUT_ABSENT)
    (sample,) = samples(Split.TEST, index, (Task.OPEN_VOCABULARY_DETECTION,), "held-out-absent")
    assert encode(sample.answer, sample.size) == ""
    asked = sample.spec.text
    assert asked
    there = {thing.category.label for thing in scene.things}
    coloured = {f"{thing.colour} {thing.category.label}" for thing in scene.things}
    assert asked not in there | coloured


def test_grounding_leaves_out_the_absent_phrase_of_a_caption() -> None:
    mixed = 0
    for index in range(30):
        (sample,) = samples(
            Split.TEST, index, (Task.CAPTION_TO_PHRASE_GROUNDING,), "held-out-absent"
        )
        assert isinstance(sample.answer, GroundingAnswer)
        text = sample.spec.text
        assert text
        if sample.answer.phrases:
            mixed += 1
            absent = text.removeprefix("The image shows ").partition(" next to ")[0]
            assert absent not in {one.phrase for one in sample.answer.phrases}
    assert 5 < mixed < 25


def test_samples_of_worlds_have_ids_of_their_own() -> None:
    ids = {samples(Split.TEST, 0, (Task.OD,), world)[0].sample_id for world in WORLDS}
    assert len(ids) == len(WORLDS)
