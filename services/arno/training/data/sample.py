"""One question about one image, and the right answer: what training and evaluation share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL.Image import Image

from arno.vocabulary import AnswerValue, ImageSize, Region, TaskSpec


@dataclass(frozen=True, slots=True)
class Sample:
    """A question and its truth. The prompt is `build_prompt` of it, the target `encode` of it.

    Attributes:
        sample_id: Where it comes from, for messages: ``boxes.jsonl:17``, ``world:7/42/OD``.
        image_id: Equal for the samples of one image.
        open_image: Reads or renders the image, RGB, as a viewer shows it. May be called from any
            process, again and again; raises `InvalidImageError` where the file is broken.
        size: The image's size in pixels; shapes of the question and of the answer refer to it.
        spec: The question: its task, and the text, classes or region that the task takes.
        answer: The truth, in the order in which a model should say it.
        ignored: Regions that are no single object, as COCO's crowds: nothing to learn, and what a
            model finds there is neither right nor wrong.
    """

    sample_id: str
    image_id: str
    open_image: Callable[[], Image] = field(repr=False)
    size: ImageSize
    spec: TaskSpec
    answer: AnswerValue
    ignored: tuple[Region, ...] = ()
