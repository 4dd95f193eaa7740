"""Render scenes, ask about them, and make training batches of both."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

import numpy as np
import torch
from arno.training.trainer.batches import IGNORED, RankBatch
from arno.training.trainer.process_group import ProcessGroup
from arno.training.world import (
    CATEGORIES,
    TINY,
    Inquiry,
    Scene,
    Split,
    Thing,
    Word,
    WorldOptions,
    draw,
    imagine,
    inquire,
)
from arno.training.world.colours import COLOURS, OTHER_NAMES, TINTS
from arno.vocabulary import Box, ImageSize, Task, build_prompt, encode
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from models.arno_tiny.architecture import GRID, IMAGE_SIDE_PX
from models.arno_tiny.tokenizer import build_tokenizer

ITEMS_MAX: Final = 6
"""Limit on the objects and words of a scene in the targets of the auxiliary heads."""
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# One more for "nothing"; a printed word is a class of its own.
LETTER_COUNT: Final = len(LETTERS) + 1
CLASS_COUNT: Final = len(CATEGORIES) + 2
_WORD_CLASS: Final = len(CATEGORIES) + 1
_CLASS_OF: Final = {category: index + 1 for index, category in enumerate(CATEGORIES)}
_COLOUR_NAMES: Final = tuple(
    dict.fromkeys([*(colour.name for colour in (*COLOURS, *TINTS)), *OTHER_NAMES])
)
COLOUR_COUNT: Final = len(_COLOUR_NAMES) + 1
_SIZE: Final = ImageSize(IMAGE_SIDE_PX, IMAGE_SIDE_PX)
_READING: Final = frozenset({Task.OCR, Task.OCR_WITH_REGION, Task.REGION_TO_OCR})
TASKS: Final = tuple(Task)


class _Tensors:
    """Tensors that move together.

    Between processes they travel as arrays inside the message. Torch would put each into shared
    memory, which containers often limit to 64 MB: less than the batches that wait there.
    """

    __slots__ = ()

    def to(self, device: torch.device) -> Self:
        """Return all on a device; to a GPU from pinned memory, without waiting for the copy."""
        if device.type == "cpu":
            return self
        return type(self)(*(_moved(getattr(self, one.name), device) for one in fields(self)))  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (getattr(self, one.name) for one in fields(self))  # type: ignore[arg-type]
        return _unpacked, (
            type(self),
            [one.numpy() if isinstance(one, torch.Tensor) else one for one in parts],
        )


def _moved(part: Any, device: torch.device) -> Any:
    if isinstance(part, torch.Tensor):
        return part.pin_memory().to(device, non_blocking=True)
    if isinstance(part, tuple):
        return tuple(_moved(one, device) for one in part)
    return part.to(device)


def _unpacked(kind: Callable[..., _Tensors], parts: list[Any]) -> _Tensors:
    return kind(*(torch.from_numpy(one) if isinstance(one, np.ndarray) else one for one in parts))


@dataclass(frozen=True, slots=True)
class Items(_Tensors):
    """Objects and words as tensors, in the order of the answer.

    Shapes: boxes [B, N, 4] float32 in units of the sides; classes, colours [B, N] int64, 0 where
    there is nothing more.
    """

    boxes: torch.Tensor
    classes: torch.Tensor
    colours: torch.Tensor


@dataclass(frozen=True, slots=True)
class Inquiries(_Tensors):
    """Questions of like length about the images of a batch.

    Shapes:
        images [S] int64, which image each is about; tasks [S] int64, places in ``TASKS``; prompts
        [S, P] int64 and prompt_mask [S, P] int64, padded at the end; answers [S, T] int64, padded
        with ``IGNORED``.
    """

    images: torch.Tensor
    tasks: torch.Tensor
    prompts: torch.Tensor
    prompt_mask: torch.Tensor
    answers: torch.Tensor
    items: Items


@dataclass(frozen=True, slots=True)
class SceneBatch(_Tensors):
    """Scenes as tensors, with the questions about them.

    Shapes: pixels [B, H, W, 3] uint8; letters [B, 2 x cells] int64, the left and the right half of
    each cell, row by row, 0 where there is no letter's middle.
    """

    pixels: torch.Tensor
    items: Items
    letters: torch.Tensor
    inquiries: tuple[Inquiries, ...]


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """Which scenes and questions make a batch.

    Attributes:
        scenes: Scenes of each process's batch.
        tasks_a_scene: Questions about each scene.
        groups: Number of groups of like length that the questions of a batch are cut into.
        weights: How often each task is asked, in relation to the others.
        options: Difficulty of the scenes.
        repeat_every: Number of scenes after which they repeat, to prove that a model can learn a
            few by heart; None never repeats a scene.
    """

    scenes: int
    tasks_a_scene: int = 3
    groups: int = 3
    weights: Mapping[Task, float] = field(default_factory=lambda: dict.fromkeys(TASKS, 1.0))
    options: WorldOptions = TINY
    repeat_every: int | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    image: int
    inquiry: Inquiry
    prompt: list[int]
    answer: list[int]


class SceneBatches(Dataset[RankBatch[SceneBatch]]):
    """A process's batches by the number of the step; no two steps or processes share a scene."""

    def __init__(
        self, sampling: SamplingConfig, group: ProcessGroup, *, first_scene: int = 0
    ) -> None:
        """Choose the scenes: `first_scene` is the number of the first, in the training split."""
        self._sampling, self._group, self._first_scene = sampling, group, first_scene

    def __getitem__(self, step: int) -> RankBatch[SceneBatch]:
        count, repeat = self._sampling.scenes, self._sampling.repeat_every
        start = self._first_scene + (step * self._group.size + self._group.rank) * count
        numbers = [
            number if repeat is None else number % repeat for number in range(start, start + count)
        ]
        batch = make_batch(numbers, self._sampling, _tokenizer())
        token_count = sum(int((one.answers != IGNORED).sum()) for one in batch.inquiries)
        return RankBatch((batch,), token_count, {})


_tokenizer = functools.cache(build_tokenizer)


def make_batch(
    numbers: Sequence[int], sampling: SamplingConfig, tokenizer: PreTrainedTokenizerFast
) -> SceneBatch:
    """Draw the training scenes of these numbers and make questions about them."""
    scenes = [imagine(Split.TRAIN.seed(number), options=sampling.options) for number in numbers]
    asked = [
        _asked(image, inquiry, tokenizer)
        for image, scene in enumerate(scenes)
        for inquiry in _inquiries(scene, sampling)
    ]
    asked.sort(key=lambda one: len(one.answer))
    step = -(-len(asked) // sampling.groups)
    return SceneBatch(
        pixels=torch.from_numpy(np.stack([np.asarray(draw(scene, _SIZE)) for scene in scenes])),
        items=_items([(scene.things, scene.words) for scene in scenes]),
        letters=torch.stack([_letters(scene) for scene in scenes]),
        inquiries=tuple(
            _gathered(asked[start : start + step]) for start in range(0, len(asked), step)
        ),
    )


def prompt_of(inquiry: Inquiry, size: ImageSize) -> str:
    """Return the prompt of an inquiry."""
    spec = inquiry.spec
    return build_prompt(
        spec.task, text=spec.text, classes=spec.classes, region=spec.region, size=size
    )


def _inquiries(scene: Scene, sampling: SamplingConfig) -> Iterator[Inquiry]:
    """Yield the questions about a scene: different tasks, drawn by their weights."""
    rng = np.random.default_rng((scene.seed, len(TASKS)))
    possible = [task for task in TASKS if scene.words or task not in _READING]
    shares = np.array([sampling.weights[task] for task in possible])
    count = min(sampling.tasks_a_scene, len(possible))
    for index in rng.choice(len(possible), size=count, replace=False, p=shares / shares.sum()):
        inquiry = inquire(scene, possible[index], _SIZE, sampling.options)
        if inquiry is not None:
            yield inquiry


def _asked(image: int, inquiry: Inquiry, tokenizer: PreTrainedTokenizerFast) -> _Asked:
    return _Asked(
        image,
        inquiry,
        tokenizer(prompt_of(inquiry, _SIZE)).input_ids,
        tokenizer(encode(inquiry.answer, _SIZE)).input_ids,
    )


def _gathered(asked: Sequence[_Asked]) -> Inquiries:
    prompts = [one.prompt for one in asked]
    return Inquiries(
        images=torch.tensor([one.image for one in asked]),
        tasks=torch.tensor([TASKS.index(one.inquiry.spec.task) for one in asked]),
        prompts=_padded(prompts, 1),
        prompt_mask=_padded([[1] * len(prompt) for prompt in prompts], 0),
        answers=_padded([one.answer for one in asked], IGNORED),
        items=_items([(one.inquiry.things, one.inquiry.words) for one in asked]),
    )


def _padded(rows: Sequence[list[int]], filler: int) -> torch.Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])


def _items(rows: Sequence[tuple[Sequence[Thing], Sequence[Word]]]) -> Items:
    boxes = torch.zeros(len(rows), ITEMS_MAX, 4)
    classes = torch.zeros(len(rows), ITEMS_MAX, dtype=torch.int64)
    colours = torch.zeros(len(rows), ITEMS_MAX, dtype=torch.int64)
    for row, (things, words) in enumerate(rows):
        for place, thing in enumerate(things[:ITEMS_MAX]):
            boxes[row, place] = _sides(thing.box)
            classes[row, place] = _CLASS_OF[thing.category]
            colours[row, place] = _COLOUR_NAMES.index(thing.colour) + 1
        for place, word in enumerate(words[: ITEMS_MAX - len(things)], start=len(things)):
            boxes[row, place] = _sides(word.region)
            classes[row, place] = _WORD_CLASS
    return Items(boxes, classes, colours)


def _sides(box: Box) -> torch.Tensor:
    return torch.tensor([box.x0, box.y0, box.x1, box.y1])


def _letters(scene: Scene) -> torch.Tensor:
    slots = torch.zeros(GRID, 2 * GRID, dtype=torch.int64)
    for word in scene.words:
        for letter, at in zip(word.text, word.letters, strict=True):
            row, column = int(at.y * GRID), int(at.x * 2 * GRID)
            slots[min(row, GRID - 1), min(column, 2 * GRID - 1)] = LETTERS.index(letter.upper()) + 1
    return slots.flatten()
