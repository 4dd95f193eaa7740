"""Scenes as the samples that training and evaluation share."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Final

from PIL.Image import Image

from arno.training.data.sample import Sample
from arno.training.world import TINY, Scene, Split, WorldOptions, draw, imagine, inquire
from arno.vocabulary import ImageSize, Task

WORLD_TASKS: Final = tuple(Task)
"""What a scene can be asked: everything."""

_LONG_SIDE_PX: Final = 320
"""Longer side of a sample's image: larger than what a model sees, as pictures are."""


def samples(
    split: Split,
    index: int,
    tasks: Collection[Task] = WORLD_TASKS,
    options: WorldOptions = TINY,
) -> list[Sample]:
    """Return what a scene asks, one sample a task, in the order of ``tasks``.

    A task that the scene has nothing for (reading, where nothing is printed) is left out.

    Raises:
        IndexError: The split has no scene of that number.
    """
    scene = imagine(split.seed(index), options=options)
    size = natural_size(scene)
    image_id = f"world:{split.name.lower()}/{index}"
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
