"""How far a quicker mode's answers are from those of float32: the gate before it is served.

Labels have to be the same, boxes have to overlap by 0.9, captions have to be the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from arno.engine.in_process.florence import load
from arno.engine.in_process.image_runner import ImageSource
from arno.engine.settings import EngineSettings
from arno.vocabulary import Answer, Task, bounding_box, iou

TASKS: Final = (Task.OD, Task.CAPTION)
"""One that answers with boxes, and one with words."""

IOU_MIN: Final = 0.9
_TOKENS: Final = 128
_EXACT: Final = {"dtype": "float32", "image_side": 0, "scaled_decoding": False}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a task's answers of two modes compare.

    Attributes:
        task: The task.
        answer_count: Of each mode.
        agreed_count: Answers with the same labels whose boxes all overlap by `IOU_MIN`; of
            captions, those of the same words.
        box_count: Compared; a box that one mode alone has counts too.
        overlap_mean: Mean intersection over union, 0.0 for a box that one mode alone has; 1.0
            without boxes.
    """

    task: Task
    answer_count: int
    agreed_count: int
    box_count: int
    overlap_mean: float

    @property
    def share(self) -> float:
        """Return the part of the answers that agree."""
        return self.agreed_count / self.answer_count


def agreement(task: Task, exact: Sequence[Answer], other: Sequence[Answer]) -> Agreement:
    """Compare at least one answer of a mode with the exact ones, pair by pair."""
    pairs = list(zip(exact, other, strict=True))
    found = [overlap for one, another in pairs for overlap in overlaps(one, another)]
    return Agreement(
        task=task,
        answer_count=len(pairs),
        agreed_count=sum(_agree(one, another) for one, another in pairs),
        box_count=len(found),
        overlap_mean=sum(found) / len(found) if found else 1.0,
    )


def measure_agreement(
    settings: EngineSettings, images: Sequence[ImageSource]
) -> tuple[Agreement, ...]:
    """Ask a model about images, in float32 and as the settings say, and compare by task.

    Raises:
        ModelError: It cannot be loaded.
        InvalidRequestError: An image cannot be read.
    """
    exact = answers(settings.model_copy(update=_EXACT), images)
    other = answers(settings, images)
    return tuple(agreement(task, exact[task], other[task]) for task in TASKS)


def answers(settings: EngineSettings, images: Iterable[ImageSource]) -> dict[Task, list[Answer]]:
    """Return a model's answers to `TASKS` about each image, in their order."""
    named = settings.model_dump(exclude_unset=True) | {"model": settings.model}
    with load(**named) as florence:
        results = list(florence.ask_many(images, *TASKS, max_new_tokens=_TOKENS))
    return {task: [result[task].answer for result in results] for task in TASKS}


def overlaps(one: Answer, other: Answer) -> Iterable[float]:
    """Yield the overlaps of boxes in the answers' order; 0.0 for those that one has more."""
    mine = [bounding_box(region.shape) for region in one.regions]
    theirs = [bounding_box(region.shape) for region in other.regions]
    yield from (iou(a, b) for a, b in zip(mine, theirs, strict=False))
    yield from [0.0] * abs(len(mine) - len(theirs))


def labels(answer: Answer) -> list[str]:
    """Return the labels of an answer's regions, in their order."""
    return [region.label for region in answer.regions]


def _agree(one: Answer, other: Answer) -> bool:
    if not one.regions and not other.regions:
        return one.raw_text == other.raw_text
    return labels(one) == labels(other) and min(overlaps(one, other)) >= IOU_MIN
