"""The port between a run and what answers, and the answerer of a model in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from arno.bulk.item import Item
from arno.errors import ArnoError, InvalidFieldError
from arno.vocabulary import TaskLike, spec_of
from arno.vocabulary.results import InferResult

if TYPE_CHECKING:
    from arno.engine.in_process.florence import Asked, Florence


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of an item.

    Attributes:
        item: The item.
        outcome: The result of its tasks, or why there is none.
        release: Called once the outcome is kept: the answerer may forget its own copy.
    """

    item: Item
    outcome: InferResult | ArnoError
    release: Callable[[], None] = field(default=_nothing, repr=False, compare=False)


class Answerer(Protocol):
    """Answers items. One call of `answer` at a time."""

    def answer(self, items: Iterable[Item]) -> Generator[Answered, None, None]:
        """Yield one outcome for each item, in any order.

        Items are taken only as fast as they are answered, so the iterable may be endless. Closing
        the iterator gives up what is under way.

        Raises:
            ArnoError: No item can be answered, now or for too long. Faults of single items are
                outcomes.
        """


class LocalAnswerer:
    """An `Answerer` with a model of this process, as `arno.load` returns it."""

    def __init__(self, florence: Florence, tasks: Sequence[TaskLike]) -> None:
        """Take a loaded model, which stays the caller's, and the tasks of items without own.

        Raises:
            InvalidFieldError: The model is a head, which does not answer one of the tasks.
        """
        for task in map(spec_of, tasks):
            if florence.tasks and task.task not in florence.tasks:
                raise InvalidFieldError(
                    field="task",
                    problem=f"{florence.model.name} is a head, which does not answer it",
                    limit=", ".join(florence.tasks),
                    sent=task.task,
                )
        self._florence = florence
        self._tasks = tuple(tasks)

    def answer(self, items: Iterable[Item]) -> Generator[Answered, None, None]:
        """Yield one outcome for each item, in order; they share the batch of the model."""
        taken: deque[Item] = deque()

        def asked() -> Iterator[Asked]:
            for item in items:
                taken.append(item)
                yield item.open_image, item.tasks or self._tasks

        for result in self._florence.ask_many(asked()):
            yield Answered(taken.popleft(), result)
