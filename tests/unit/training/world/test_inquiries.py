"""Every task's question has an answer that the parsers read back, and that the scene bears out."""

from __future__ import annotations

import numpy as np
import pytest
from arno.training.data.source import Sample
from arno.training.data.world import WORLD_TASKS, natural_size, samples
from arno.training.world import FULL, TINY, Scene, Split, Thing, draw, imagine, inquire
from arno.training.world.captions import detailed_caption, more_detailed_caption, short_caption
from arno.training.world.descriptions import (
    NUMBERS,
    coloured,
    described,
    expression,
    of_kind,
    position,
)
from arno.vocabulary import (
    BIN_COUNT,
    Answer,
    Box,
    Decoded,
    GroundingAnswer,
    Point,
    Shape,
    Task,
    TextAnswer,
    TokenTable,
    check_inputs,
    encode,
    iou,
    parse,
)
from arno.vocabulary.regions import corners

from models.arno_tiny.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer()
VOCABULARY = TokenTable.from_byte_level(
    TOKENIZER.get_vocab(), added_tokens=TOKENIZER.get_added_vocab(), special_ids=(0, 1, 2)
)
INDICES = range(16)


def _answered(sample: Sample) -> Answer:
    ids = TOKENIZER(encode(sample.answer, sample.size)).input_ids
    spec = sample.spec
    return parse(
        spec.task,
        Decoded(ids),
        VOCABULARY,
        sample.size,
        region=spec.region,
        classes=spec.classes,
    )


def _assert_near(one: Shape, other: Shape, sample: Sample) -> None:
    half_x = sample.size.width_px / BIN_COUNT / 2 + 1e-6
    half_y = sample.size.height_px / BIN_COUNT / 2 + 1e-6
    pairs: list[tuple[Point, Point]] = list(zip(corners(one), corners(other), strict=True))
    for a, b in pairs:
        assert abs(a.x - b.x) <= half_x
        assert abs(a.y - b.y) <= half_y


@pytest.mark.parametrize("world", ["tiny", "full", "open"])
@pytest.mark.parametrize("task", WORLD_TASKS)
def test_an_answer_is_read_back_within_half_a_bin(task: Task, world: str) -> None:
    count = 0
    for index in INDICES:
        for sample in samples(Split.TEST, index, tasks=(task,), world=world):
            spec = sample.spec
            check_inputs(
                task, text=spec.text, classes=spec.classes, region=spec.region, size=sample.size
            )
            value = _answered(sample).value
            assert type(value) is type(sample.answer)
            if isinstance(sample.answer, TextAnswer):
                assert isinstance(value, TextAnswer)
                assert value.text == sample.answer.text
            else:
                true = _regions(sample.answer)
                found = _regions(value)
                assert [region.label for region in found] == [region.label for region in true]
                for one, other in zip(found, true, strict=True):
                    _assert_near(one.shape, other.shape, sample)
            count += 1
    assert count > 4


def _regions(value) -> list:
    if isinstance(value, GroundingAnswer):
        return [region for phrase in value.phrases for region in phrase.regions]
    return list(value.regions)


def test_a_scene_asks_every_task_and_always_the_same() -> None:
    index = next(i for i in range(50) if imagine(Split.TEST.seed(i)).words)
    first, second = (samples(Split.TEST, index) for _ in range(2))
    assert [sample.spec.task for sample in first] == list(Task)
    assert [(one.spec, one.answer) for one in first] == [(one.spec, one.answer) for one in second]
    assert len({sample.sample_id for sample in first}) == len(first)
    assert {sample.image_id for sample in first} == {f"world:test/{index}"}


def test_nothing_is_asked_about_words_where_none_is_printed() -> None:
    index = next(i for i in range(50) if not imagine(Split.TEST.seed(i)).words)
    asked = {sample.spec.task for sample in samples(Split.TEST, index)}
    assert set(Task) - asked == {Task.OCR, Task.OCR_WITH_REGION, Task.REGION_TO_OCR}


def test_a_sample_opens_the_picture_of_its_scene() -> None:
    sample = samples(Split.TEST, 3, tasks=(Task.OD,))[0]
    scene = imagine(Split.TEST.seed(3))
    assert sample.size == natural_size(scene)
    assert sample.open_image().tobytes() == draw(scene, sample.size).tobytes()


@pytest.mark.parametrize("index", INDICES)
def test_a_region_asked_about_lies_on_what_it_means(index: int) -> None:
    scene = imagine(Split.TEST.seed(index))
    size = natural_size(scene)
    for task in (Task.REGION_TO_CATEGORY, Task.REGION_TO_OCR, Task.REGION_TO_SEGMENTATION):
        inquiry = inquire(scene, task, size, TINY)
        if inquiry is None:
            continue
        region = inquiry.spec.region
        assert region is not None
        (true,) = [one.box for one in inquiry.things] + [one.region for one in inquiry.words]
        scaled = Box(
            true.x0 * size.width_px,
            true.y0 * size.height_px,
            true.x1 * size.width_px,
            true.y1 * size.height_px,
        )
        assert iou(region, scaled) > 0.85


@pytest.mark.parametrize("write", [short_caption, detailed_caption])
@pytest.mark.parametrize("index", INDICES)
def test_captions_name_every_object_once(index: int, write) -> None:
    scene = imagine(Split.TEST.seed(index), options=FULL)
    caption = write(scene)
    named = [thing for phrase in caption.phrases for thing in phrase.things]
    assert sorted(map(id, named)) == sorted(map(id, scene.things))
    for phrase in caption.phrases:
        assert phrase.text in caption.text
        count = len(phrase.things)
        assert count == 1 or NUMBERS[count] in phrase.text.lower()
    assert caption.text.endswith(f"{scene.background.place}.")


@pytest.mark.parametrize("index", INDICES)
def test_the_longest_caption_says_place_colour_and_words(index: int) -> None:
    scene = imagine(Split.TEST.seed(index))
    text = more_detailed_caption(scene).text
    for thing in scene.things:
        assert coloured(thing) in text
        assert position(thing) in text
    for word in scene.words:
        assert word.text in text


def test_expressions_fit_one_object_and_no_other() -> None:
    kinds = set()
    for index in range(60):
        scene = imagine(Split.TEST.seed(index), options=FULL)
        rng = np.random.default_rng(index)
        for thing in scene.things:
            text = expression(rng, scene, thing)
            if text is not None:
                kinds.add(next((how for how in _HOW if how in text), "plain"))
                assert _fitting(scene, text) == [thing], text
    assert kinds == {*_HOW, "plain"}


_HOW = (" left of ", " right of ", " above ", " below ", " on the ")


def _fitting(scene: Scene, text: str) -> list[Thing]:
    """Return the objects that the words fit, by the reading of a person with a ruler."""
    how = next((how for how in _HOW if how in text), None)
    if how is None:
        said = text.removeprefix("the ")
        return [one for one in scene.things if said in (_label(one), coloured(one), described(one))]
    label, place = text.removeprefix("the ").split(how)
    alike = of_kind(scene, label)
    if how == " on the ":
        return [(min if place == "left" else max)(alike, key=lambda one: _middle(one)[0])]
    (anchor,) = of_kind(scene, place.removeprefix("the "))
    return [one for one in alike if one is not anchor and _lies(one, anchor) == how.strip()]


def _label(thing: Thing) -> str:
    return thing.category.label


def _middle(thing: Thing) -> tuple[float, float]:
    return (thing.box.x0 + thing.box.x1) / 2, (thing.box.y0 + thing.box.y1) / 2


def _lies(one: Thing, other: Thing) -> str | None:
    across, down = (a - b for a, b in zip(_middle(one), _middle(other), strict=True))
    if max(abs(across), abs(down)) < 0.15:
        return None
    if abs(across) >= 2 * abs(down):
        return "left of" if across < 0 else "right of"
    if abs(down) >= 2 * abs(across):
        return "above" if down < 0 else "below"
    return None


def test_questions_have_the_answers_that_the_scene_gives() -> None:
    asked = set()
    for index in range(80):
        scene = imagine(Split.TEST.seed(index))
        inquiry = inquire(scene, Task.PROMPT, natural_size(scene), TINY)
        assert inquiry is not None
        text, said = inquiry.spec.text, inquiry.answer.text
        assert text.startswith("<VQA>")
        kind = text.removeprefix("<VQA>").split()[0]
        asked.add(kind)
        match kind:
            case "How":
                assert NUMBERS.index(said) == len(inquiry.things)
                assert {one.category.plural for one in inquiry.things} == {text.split()[2]}
            case "Is":
                label = text.rstrip("?").split()[-1]
                assert said == ("yes" if of_kind(scene, label) else "no")
            case "Which":
                assert [one.colour for one in inquiry.things] == [said]
            case "Where":
                assert [position(one) for one in inquiry.things] == [said]
            case "What":
                assert [one.category.label for one in inquiry.things] == [said]
    assert asked == {"How", "Is", "Which", "Where", "What"}
