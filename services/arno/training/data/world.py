"""Scenes of the rendered world as samples."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Collection, Sequence
from typing import Final

from PIL.Image import Image

from arno.errors import InvalidFieldError
from arno.training.data.source import Sample, SampleSource
from arno.training.world import (
    WORLDS,
    Scene,
    Split,
    WorldOptions,
    draw,
    imagine,
    inquire,
)
from arno.vocabulary import ImageSize, Task

WORLD_TASKS: Final = tuple(Task)
"""The tasks that a scene has samples for: all."""

TINY_NAME: Final = "tiny"
"""The world of the test split that the figures of the bundled model are measured on."""
_LONG_SIDE_PX: Final = 320
"""Longer side of a sample's image; larger than a model's input, as real pictures are."""


class WorldScenes(SampleSource):
    """The samples of some scenes of a split, chosen by a seed."""

    def __init__(
        self,
        *,
        seed: int,
        count: int,
        split: Split,
        tasks: Sequence[Task] | None = None,
        world: str = TINY_NAME,
    ) -> None:
        """Choose the scenes of a world of `WORLDS`; they are drawn when their image is opened.

        Raises:
            InvalidFieldError: The scenes have nothing to ask for these tasks.
        """
        wanted = tuple(tasks) if tasks is not None else WORLD_TASKS
        chosen = random.Random(seed).sample(split.value, count)  # noqa: S311 - no secret
        first = split.value.start
        self._samples = [
            sample for number in chosen for sample in samples(split, number - first, wanted, world)
        ]
        if not self._samples:
            problem = f"the scenes have no sample for {', '.join(wanted)}"
            raise InvalidFieldError(field=f"world:seed={seed}", problem=problem)
        named = "" if world == TINY_NAME else f" {world}"
        facts = f"{seed} {count} {split.name} {wanted}{named}"
        answers = "".join(f"{sample.spec}{sample.answer}" for sample in self._samples)
        self._digest = hashlib.sha256(f"{facts}{answers}".encode()).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of the questions and answers."""
        return self._digest

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def task(self, index: int) -> Task:
        """Return the task of a sample."""
        return self._samples[index].spec.task


def samples(
    split: Split,
    index: int,
    tasks: Collection[Task] = WORLD_TASKS,
    world: str = TINY_NAME,
) -> list[Sample]:
    """Return the samples of a scene of a world of `WORLDS`, one per task, in the order of `tasks`.

    A task without an answer in the scene (reading, where nothing is printed) is left out.

    Raises:
        IndexError: The split has no scene of that number.
    """
    options = WORLDS[world]
    scene = imagine(split.seed(index), options=options)
    size = natural_size(scene)
    named = "" if world == TINY_NAME else f"{world}/"
    image_id = f"world:{named}{split.name.lower()}/{index}"
    asked = ((task, inquire(scene, task, size, options)) for task in tasks)
    return [
        Sample(
            sample_id=f"{image_id}/{task}",
            image_id=image_id,
            open_image=functools.partial(_open, scene.seed, size, options),
            size=size,
            spec=inquiry.spec,
            answer=inquiry.answer,
        )
        for task, inquiry in asked
        if inquiry is not None
    ]


def natural_size(scene: Scene) -> ImageSize:
    """Return the size of a scene's picture in its own aspect."""
    if scene.aspect >= 1:
        return ImageSize(_LONG_SIDE_PX, max(1, round(_LONG_SIDE_PX / scene.aspect)))
    return ImageSize(max(1, round(_LONG_SIDE_PX * scene.aspect)), _LONG_SIDE_PX)


def _open(seed: int, size: ImageSize, options: WorldOptions) -> Image:
    return draw(imagine(seed, options=options), size)
