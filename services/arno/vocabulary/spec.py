"""Describe one task of a request, as a client asks for it and a worker takes it."""

from dataclasses import dataclass

from arno.vocabulary.regions import Box
from arno.vocabulary.task import Task


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What to do with an image. None and empty stand for the server's default or for nothing.

    Attributes:
        task: What is asked.
        id: Names the task in its request.
        text: The caption, phrase or prompt of a task that takes one.
        classes: Category names in place of the text.
        region: The box asked about, in pixels of the image as a viewer shows it.
        num_beams: Width of the beam search; 1 is greedy.
        max_new_tokens: Limit on the answer, its end token included.
        constrained: Whether the answer is held to the form of its task, and to the classes.
        input_from: The id of an earlier task of the request, whose answer is this one's input.
        fan_out_max: How many regions of that answer are followed, best first.
    """

    task: Task
    id: str = ""
    text: str = ""
    classes: tuple[str, ...] = ()
    region: Box | None = None
    num_beams: int | None = None
    max_new_tokens: int | None = None
    constrained: bool = False
    input_from: str = ""
    fan_out_max: int | None = None
