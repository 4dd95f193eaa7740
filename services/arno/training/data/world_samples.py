"""What can be asked about a scene, and the truth about it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Final

from PIL.Image import Image

from arno.tasks import AnswerValue, DetectionAnswer, ImageSize, Region, Task, TaskSpec, TextAnswer
from arno.training.data.sample import Sample
from arno.training.world import Split, caption, imagine, render

WORLD_TASKS: Final = (Task.OD, Task.CAPTION)
_LONG_SIDE_PX: Final = 320


def samples(split: Split, index: int, *, tasks: Collection[Task]) -> list[Sample]:
    """Return the samples of one scene, in the order of the tasks."""
    return [_sample(split, index, task) for task in tasks if task in WORLD_TASKS]


def _sample(split: Split, index: int, task: Task) -> Sample:
    scene = imagine(split.seed(index))
    width = _LONG_SIDE_PX if scene.aspect >= 1 else round(_LONG_SIDE_PX * scene.aspect)
    height = _LONG_SIDE_PX if scene.aspect < 1 else round(_LONG_SIDE_PX / scene.aspect)
    size = ImageSize(width, height)
    picture = render(scene, width, height)
    answer: AnswerValue = TextAnswer(caption(scene))
    if task is Task.OD:
        answer = DetectionAnswer(
            tuple(Region(seen.category.label, seen.box) for seen in picture.objects)
        )
    name = f"world:{split.name.lower()}/{index}"
    draw = partial(_draw, split, index, size)
    return Sample(f"{name}/{task}", name, draw, size, TaskSpec(task), answer)


def _draw(split: Split, index: int, size: ImageSize) -> Image:
    return render(imagine(split.seed(index)), size.width_px, size.height_px).image
