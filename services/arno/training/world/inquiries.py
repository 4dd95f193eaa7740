"""Make the question and the answer of each task about a scene.

Shapes are in pixels of a picture of any size. The scene's seed and the task determine the question
(which object, which phrase), so a scene always has the same questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from arno.training.world.captions import (
    Caption,
    detailed_caption,
    more_detailed_caption,
    short_caption,
)
from arno.training.world.categories import with_article
from arno.training.world.colours import TINTS
from arno.training.world.descriptions import (
    coloured,
    described,
    expression,
    of_kind,
    situated,
)
from arno.training.world.options import WorldOptions
from arno.training.world.questions import question
from arno.training.world.scene import Scene, Thing
from arno.training.world.shapes import scaled_box, scaled_outline, scaled_quad
from arno.training.world.words import Word
from arno.vocabulary import (
    AnswerValue,
    Box,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    ImageSize,
    OcrAnswer,
    Region,
    SegmentationAnswer,
    Task,
    TaskSpec,
    TextAnswer,
)

TASK_NUMBERS: Final = MappingProxyType({task: number for number, task in enumerate(Task)})
_CLASSES_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question about a scene and its truth.

    Attributes:
        spec: The task with its inputs.
        answer: The truth.
        things: The objects that the answer is about, in its order.
        words: The printed words that it is about, in its order.
    """

    spec: TaskSpec
    answer: AnswerValue
    things: tuple[Thing, ...] = ()
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """The inputs from which a question is made."""

    scene: Scene
    size: ImageSize
    options: WorldOptions
    rng: np.random.Generator
    task: Task


def inquire(scene: Scene, task: Task, size: ImageSize, options: WorldOptions) -> Inquiry | None:
    """Return the question of ``task`` about ``scene``; None where the scene has none."""
    rng = np.random.default_rng((scene.seed, TASK_NUMBERS[task]))
    return _ASKERS[task](_Asked(scene, size, options, rng, task))


def _captioner(write: Callable[[Scene], Caption]) -> _Asker:
    def ask(asked: _Asked) -> Inquiry:
        written = write(asked.scene)
        return Inquiry(TaskSpec(asked.task), TextAnswer(written.text), asked.scene.things)

    return ask


def _read(asked: _Asked) -> Inquiry | None:
    words = asked.scene.words
    if not words:
        return None
    text = " ".join(word.text for word in words)
    return Inquiry(TaskSpec(asked.task), TextAnswer(text), words=words)


def _read_regions(asked: _Asked) -> Inquiry | None:
    words = asked.scene.words
    if not words:
        return None
    regions = tuple(Region(word.text, scaled_quad(word.quad, asked.size)) for word in words)
    return Inquiry(TaskSpec(asked.task), OcrAnswer(regions), words=words)


def _read_region(asked: _Asked) -> Inquiry | None:
    if not asked.scene.words:
        return None
    word = asked.scene.words[asked.rng.integers(len(asked.scene.words))]
    spec = TaskSpec(asked.task, region=_drawn(asked, word.region))
    return Inquiry(spec, TextAnswer(word.text), words=(word,))


def _detector(label: Callable[[Thing], str]) -> _Asker:
    def ask(asked: _Asked) -> Inquiry:
        things = asked.scene.things
        regions = _boxes(((label(thing), thing) for thing in things), asked.size)
        return Inquiry(TaskSpec(asked.task), DetectionAnswer(regions), things)

    return ask


def _ground(asked: _Asked) -> Inquiry:
    if _is_absent_due(asked):
        return _ground_absent(asked)
    if asked.scene.things and asked.rng.random() < 0.3:
        return _ground_classes(asked)
    write = (short_caption, detailed_caption)[asked.rng.integers(2)]
    written = write(asked.scene)
    phrases = tuple(
        GroundedPhrase(one.text, _boxes(((one.text, thing) for thing in one.things), asked.size))
        for one in written.phrases
    )
    things = tuple(thing for phrase in written.phrases for thing in phrase.things)
    return Inquiry(TaskSpec(asked.task, text=written.text), GroundingAnswer(phrases), things)


def _is_absent_due(asked: _Asked) -> bool:
    # Worlds without such questions draw no number for them: their questions stay what they were.
    part = asked.options.absent_part
    return bool(part) and bool(asked.rng.random() < part)


def _ground_absent(asked: _Asked) -> Inquiry:
    """Ask for a phrase that is not there, alone or in front of what a caption says."""
    phrase = with_article(_absent_phrase(asked))
    if not asked.scene.things or asked.rng.random() < 0.6:
        return Inquiry(TaskSpec(asked.task, text=phrase), GroundingAnswer(()))
    written = detailed_caption(asked.scene)
    start, *rest = written.pieces
    text = Caption((start, f"{phrase} next to ", *rest)).text
    phrases = tuple(
        GroundedPhrase(one.text, _boxes(((one.text, thing) for thing in one.things), asked.size))
        for one in written.phrases
    )
    things = tuple(thing for one in written.phrases for thing in one.things)
    return Inquiry(TaskSpec(asked.task, text=text), GroundingAnswer(phrases), things)


def _absent_phrase(asked: _Asked) -> str:
    """Return a kind, with or without a colour, that is not there; or one in a wrong colour."""
    there = {thing.category.label for thing in asked.scene.things}
    absent = [one.label for one in asked.options.categories if one.label not in there]
    label = absent[asked.rng.integers(len(absent))]
    if asked.rng.random() < 0.5:
        return label
    if there and asked.rng.random() < 0.5:
        label = _some(asked).category.label
    seen = {thing.colour for thing in of_kind(asked.scene, label)}
    colours = [colour.name for colour in TINTS if colour.name not in seen]
    return f"{colours[asked.rng.integers(len(colours))]} {label}"


def _ground_classes(asked: _Asked) -> Inquiry:
    classes = _classes(asked)
    found = [(name, of_kind(asked.scene, name)) for name in classes]
    phrases = tuple(
        GroundedPhrase(name, _boxes(((name, thing) for thing in things), asked.size))
        for name, things in found
        if things
    )
    about = tuple(thing for _, things in found for thing in things)
    return Inquiry(TaskSpec(asked.task, classes=classes), GroundingAnswer(phrases), about)


def _detect_open(asked: _Asked) -> Inquiry:
    if not asked.scene.things or _is_absent_due(asked):
        phrase = _absent_phrase(asked)
        return Inquiry(TaskSpec(asked.task, text=phrase), DetectionAnswer(()))
    if asked.rng.random() < 0.4:
        classes = _classes(asked)
        about = tuple(thing for name in classes for thing in of_kind(asked.scene, name))
        regions = _boxes(((thing.category.label, thing) for thing in about), asked.size)
        return Inquiry(TaskSpec(asked.task, classes=classes), DetectionAnswer(regions), about)
    naming = (coloured, described, _label)[asked.rng.integers(3)]
    phrase = naming(_some(asked))
    about = tuple(thing for thing in asked.scene.things if naming(thing) == phrase)
    regions = _boxes(((phrase, thing) for thing in about), asked.size)
    return Inquiry(TaskSpec(asked.task, text=phrase), DetectionAnswer(regions), about)


def _segment_phrase(asked: _Asked) -> Inquiry | None:
    if not asked.scene.things:
        return None
    thing = _some(asked)
    text = expression(asked.rng, asked.scene, thing)
    if text is None:
        return None
    return Inquiry(TaskSpec(asked.task, text=text), _mask(thing, asked.size), (thing,))


def _segment_region(asked: _Asked) -> Inquiry | None:
    if not asked.scene.things:
        return None
    thing = _some(asked)
    spec = TaskSpec(asked.task, region=_drawn(asked, thing.box))
    return Inquiry(spec, _mask(thing, asked.size), (thing,))


def _teller(tell: Callable[[Thing], str]) -> _Asker:
    def ask(asked: _Asked) -> Inquiry | None:
        if not asked.scene.things:
            return None
        thing = _some(asked)
        spec = TaskSpec(asked.task, region=_drawn(asked, thing.box))
        return Inquiry(spec, TextAnswer(tell(thing)), (thing,))

    return ask


def _ask(asked: _Asked) -> Inquiry:
    put = question(asked.rng, asked.scene, asked.options)
    return Inquiry(TaskSpec(asked.task, text=put.text), TextAnswer(put.answer), put.about)


def _label(thing: Thing) -> str:
    return thing.category.label


def _some(asked: _Asked) -> Thing:
    return asked.scene.things[asked.rng.integers(len(asked.scene.things))]


def _classes(asked: _Asked) -> tuple[str, ...]:
    """Return a few classes, of which at least one is there and some may not be."""
    there = list(dict.fromkeys(thing.category.label for thing in asked.scene.things))
    names = [there[index] for index in asked.rng.permutation(len(there))]
    names = names[: asked.rng.integers(1, _CLASSES_MAX + 1)]
    if len(names) < _CLASSES_MAX and asked.rng.random() < 0.5:
        absent = [one.label for one in asked.options.categories if one.label not in there]
        names.insert(
            int(asked.rng.integers(len(names) + 1)), absent[asked.rng.integers(len(absent))]
        )
    return tuple(names)


def _boxes(named: Iterable[tuple[str, Thing]], size: ImageSize) -> tuple[Region, ...]:
    return tuple(Region(name, scaled_box(thing.box, size)) for name, thing in named)


def _mask(thing: Thing, size: ImageSize) -> SegmentationAnswer:
    return SegmentationAnswer((Region("", scaled_outline(thing.outline, size)),))


def _drawn(asked: _Asked, box: Box) -> Box:
    """Return a box as a person draws it: not quite exactly, and inside the picture."""
    jitter = asked.options.region_jitter
    left, up, right, down = asked.rng.uniform(-jitter, jitter, size=4).tolist()
    width, height = box.x1 - box.x0, box.y1 - box.y0
    loose = Box(
        max(0.0, box.x0 + left * width),
        max(0.0, box.y0 + up * height),
        min(1.0, box.x1 + right * width),
        min(1.0, box.y1 + down * height),
    )
    return scaled_box(loose, asked.size)


_Asker: TypeAlias = Callable[[_Asked], Inquiry | None]

_ASKERS: Final[Mapping[Task, _Asker]] = MappingProxyType(
    {
        Task.CAPTION: _captioner(short_caption),
        Task.DETAILED_CAPTION: _captioner(detailed_caption),
        Task.MORE_DETAILED_CAPTION: _captioner(more_detailed_caption),
        Task.OCR: _read,
        Task.OCR_WITH_REGION: _read_regions,
        Task.OD: _detector(_label),
        Task.DENSE_REGION_CAPTION: _detector(described),
        Task.REGION_PROPOSAL: _detector(lambda _thing: ""),
        Task.CAPTION_TO_PHRASE_GROUNDING: _ground,
        Task.REFERRING_EXPRESSION_SEGMENTATION: _segment_phrase,
        Task.REGION_TO_SEGMENTATION: _segment_region,
        Task.OPEN_VOCABULARY_DETECTION: _detect_open,
        Task.REGION_TO_CATEGORY: _teller(_label),
        Task.REGION_TO_DESCRIPTION: _teller(situated),
        Task.REGION_TO_OCR: _read_region,
        Task.PROMPT: _ask,
    }
)
