"""What is asked, and what the one true answer to it is."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from arno.api.v1 import types_pb2, vision_pb2
from arno.vocabulary import ImageSize, Task, build_prompt
from chaos.echo_engine import echo
from PIL import Image

SIZE = ImageSize(64, 48)
_TASKS = (Task.CAPTION, Task.DETAILED_CAPTION, Task.MORE_DETAILED_CAPTION, Task.OCR)
# Bytes and their share: what travels in a record, and what goes through the blob store.
_SIZES = ((3_000, 0.88), (150_000, 0.10), (1_000_000, 0.02))
_SHARED_SHARE = 0.05
_SHARED_COUNT = 4
_SHARED_BYTES = 400_000


@dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Attributes:
        number: Its place in the run.
        key: Its idempotency key.
        image: Unlike every other image of the run, or one of a few large ones that many share.
        tasks: One to three.
        answers: The text of each task's result by the task's id, in order.
    """

    number: int
    key: str
    image: types_pb2.Image
    tasks: tuple[types_pb2.TaskSpec, ...]
    answers: Mapping[str, str]

    def fault(self, response: vision_pb2.InferResponse, *, unanswered: Collection[str] = ()) -> str:
        """Return what is false about an answer; nothing where it is the true one.

        Args:
            response: The answer.
            unanswered: Ids of tasks that say themselves that they have none.
        """
        said = {result.id: result.answer.text.text for result in response.results}
        true = {name: "" if name in unanswered else text for name, text in self.answers.items()}
        if said == true and list(said) == list(true):
            return ""
        return f"question {self.number}: said {said}, true is {true}"


def make_question(number: int, run: str) -> Question:
    """Return the question of a number; the same for the same run."""
    chance = random.Random(f"{run}/{number}")
    content = PICTURE + _padding(chance, run)
    sha256 = hashlib.sha256(content).hexdigest()
    tasks, answers = [], {}
    for index in range(chance.randint(1, 3)):
        task_id = f"q{number}-{index}"
        task = chance.choice(_TASKS)
        tasks.append(types_pb2.TaskSpec(id=task_id, task=types_pb2.Task.Value(f"TASK_{task}")))
        answers[task_id] = echo(sha256, build_prompt(task, size=SIZE))
    return Question(
        number=number,
        key=f"{run}-{number}",
        image=types_pb2.Image(content=content),
        tasks=tuple(tasks),
        answers=answers,
    )


def _padding(chance: random.Random, run: str) -> bytes:
    if chance.random() < _SHARED_SHARE:
        # Jobs with one large image share its blob, however long each of them lives.
        shared = random.Random(f"{run}/shared/{chance.randrange(_SHARED_COUNT)}")
        return shared.randbytes(_SHARED_BYTES)
    ((size_bytes, *_),) = [chance.choices(*zip(*_SIZES, strict=True))]
    return chance.randbytes(chance.randint(size_bytes // 2, size_bytes))


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIZE.width_px, SIZE.height_px), "teal").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = _picture()
"""A whole PNG. What follows its end makes each image another one, and costs no drawing."""
