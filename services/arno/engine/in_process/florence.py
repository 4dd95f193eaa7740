"""Ask Florence-2 in this process: the front door of the engine, which `arno` exports as `load`.

There is no gateway, bus or store between a call and the model, but the same continuous batch as in
a worker: sequences of all images and all calls decode together. Images, tasks and results are those
of the client.

    with arno.load("tiny") as florence:
        for region in florence.ask("photo.jpg", "OD")["OD"].regions:
            print(region.label, region.shape, region.score)
"""

from __future__ import annotations

import queue
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeAlias

from pydantic import ValidationError

from arno.engine.create import create_engine
from arno.engine.in_process.image_runner import ImageRunner, ImageSource, Inbox, OpenImage
from arno.engine.interface import Engine
from arno.engine.settings import EngineSettings
from arno.errors import ArnoError, ConfigurationError, InvalidRequestError
from arno.images.input import require_several
from arno.vocabulary import Lane, Task, TaskLike, TaskSpec, spec_of
from arno.vocabulary.answers import ScoredCandidate
from arno.vocabulary.checks import check_specs
from arno.vocabulary.results import ImageDescription, InferResult, Model, TaskResult
from arno.vocabulary.spec import CandidateLike, scoring_spec
from arno.vocabulary.wire_results import response_to_wire

_WINDOW_FACTOR: Final = 16
"""Results that may wait for an earlier image, for each task that may be in flight."""

Asked: TypeAlias = ImageSource | tuple[ImageSource, Sequence[TaskLike]]
"""An image, or an image with the tasks for it alone."""


def load(model: str = "tiny", **settings: Any) -> Florence:
    """Load a model into this process and return it, ready to answer.

    Args:
        model: `tiny` (bundled), a folder with a checkpoint, a LoRA adapter or a head of
            `arno train --head`, or a hub id (`OWNER/NAME` or `OWNER/NAME@REVISION`), which must be
            in the local cache unless `download=True`.
        settings: Fields of `EngineSettings`, named as a worker's flags: `device="cuda"`,
            `dtype="bfloat16"`, `base_model=...`, `download=True`, `batch_sequences_max=32`, ...

    Raises:
        ConfigurationError: A setting is unknown or has a value that it cannot have.
        MissingExtraError: torch or another part of the extra `arno[worker]` is not installed.
        ModelError: The model cannot be found or read, or does not answer sensibly.
    """
    chosen = _engine_settings(model, settings)
    engine = create_engine(chosen)
    try:
        engine.warm_up()
    except BaseException:
        engine.close()
        raise
    return Florence(engine, in_flight_max=2 * chosen.batch_sequences_max)


class Florence:
    """A loaded model. Threads may share it: their sequences share its batch.

    Close it, or use it in a `with` statement, to free the model's memory. The end of the process
    closes it too.
    """

    def __init__(self, engine: Engine, *, in_flight_max: int = 32) -> None:
        """Take over a warm engine.

        Args:
            engine: Has no sequences, and is used and closed by this object alone.
            in_flight_max: Tasks of one `ask_many` that are in the engine or on their way to it.
        """
        self._runner = ImageRunner(engine)
        self._in_flight_max = in_flight_max
        self._card = engine.card
        # The threads keep the runner alive, but not this object: without users it closes itself.
        self._close = weakref.finalize(self, self._runner.close)

    @property
    def model(self) -> Model:
        """The model that answers."""
        return Model(self._card.name, self._card.fingerprint, self._card.dtype)

    @property
    def categories(self) -> tuple[str, ...]:
        """The only labels that a head knows; empty for a Florence-2, whose labels are free."""
        return self._card.categories

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The only tasks that a head answers; empty for a Florence-2, which answers all."""
        return self._card.tasks

    def ask(
        self,
        image: ImageSource,
        *tasks: TaskLike,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        constrained: bool = False,
    ) -> InferResult:
        """Run tasks on one image and wait for all of them.

        Args:
            image: A path, the bytes of an image file, a Pillow image, an array of RGB pixels, or a
                function that returns one of these.
            tasks: `"OD"`, `Task.OD` or an `arno.TaskRequest`; the image is encoded once for all.
            num_beams: Width of the search of tasks that do not set their own; 1 is greedy.
            max_new_tokens: Limit on the answers of tasks that do not set their own.
            constrained: Hold every answer to the form of its task.

        Raises:
            InvalidRequestError: The image cannot be read, or a task makes no sense.
            EngineError: The engine failed as a whole. A task that failed alone has its error in its
                result.
        """
        options = _Options(num_beams, max_new_tokens, constrained)
        asked = [(image, options.specs(tasks))]
        (opened,) = self._run(asked, lane=Lane.INTERACTIVE, in_flight_max=1)
        if opened.error is not None:
            raise opened.error
        result = self._result(opened)
        # A function makes another image at every call.
        return result if callable(image) else replace(result, source=image)

    def score(
        self, image: ImageSource, task: TaskLike, candidates: Sequence[CandidateLike]
    ) -> tuple[ScoredCandidate, ...]:
        """Return what the model thinks of given answers to a task, in their order.

        It reads them in one pass instead of writing an answer of its own.

        Args:
            image: As for `ask`.
            task: The task, with the inputs that it takes.
            candidates: Texts as the model would write them, or regions of which label and shape
                count.

        Raises:
            InvalidRequestError: The image cannot be read, or the task or a candidate makes no
                sense.
            EngineError: The engine failed.
        """
        spec = scoring_spec(task, candidates)
        return self.ask(image, spec).tasks[0].answer.candidates

    def ask_many(
        self,
        images: Iterable[Asked],
        *tasks: TaskLike,
        in_flight_max: int | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        constrained: bool = False,
    ) -> Iterator[InferResult]:
        """Run tasks on many images; yield one result for each image, in their order.

        Images are taken from the iterable as fast as they are answered, so it may be endless; those
        in flight share the batch. An image that cannot be used still yields a result: each of its
        tasks carries the error, and reading the task's answer raises it. The other images are not
        affected. Leaving the loop cancels what is in flight.

        Args:
            images: As for `ask`; or pairs of an image and the tasks for it, which then replace
                `tasks`.
            tasks: As for `ask`.
            in_flight_max: Tasks that are in the engine or on their way to it; None takes twice the
                sequences of a batch.
            num_beams: As for `ask`.
            max_new_tokens: As for `ask`.
            constrained: As for `ask`.

        Raises:
            InvalidRequestError: A task makes no sense, or `images` is one image.
            EngineError: The engine failed as a whole.
            Exception: Whatever the iterable or a function in it raised, after the results of the
                images before it.
        """
        options = _Options(num_beams, max_new_tokens, constrained)
        require_several("images", images, "`ask` takes one")
        specs = options.specs(tasks) if tasks else ()
        asked = (options.pair(each, specs) for each in images)
        limit = in_flight_max or self._in_flight_max
        return self._results(asked, limit)

    def close(self) -> None:
        """Free the model. Idempotent; calls in other threads end with a `CancelledError`."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _results(
        self, asked: Iterable[tuple[ImageSource, tuple[TaskSpec, ...]]], in_flight_max: int
    ) -> Iterator[InferResult]:
        for opened in self._run(asked, lane=Lane.BATCH, in_flight_max=in_flight_max):
            if opened.error is not None and not isinstance(opened.error, InvalidRequestError):
                raise opened.error
            yield self._result(opened)

    def _run(
        self,
        asked: Iterable[tuple[ImageSource, tuple[TaskSpec, ...]]],
        *,
        lane: Lane,
        in_flight_max: int,
    ) -> Iterator[OpenImage]:
        """Yield images in their order once they have ended, and keep others in flight meanwhile."""
        inbox: Inbox = queue.SimpleQueue()
        window: deque[OpenImage] = deque()  # in order, those that have ended among them
        in_flight: dict[OpenImage, int] = {}
        images = iter(asked)
        ended_by: Exception | None = None
        try:
            while ended_by is None or window:
                while window and window[0].ended:
                    yield window.popleft()
                room = not in_flight or sum(in_flight.values()) < in_flight_max
                if ended_by is None and room and len(window) < _WINDOW_FACTOR * in_flight_max:
                    try:
                        image, specs = next(images)
                    except Exception as error:  # noqa: BLE001 - raised below, after the results
                        ended_by = error
                        continue
                    opened = OpenImage(specs, inbox, lane)
                    self._runner.start(image, opened)
                    window.append(opened)
                    in_flight[opened] = len(specs)
                elif in_flight:
                    opened, end = inbox.get()
                    self._runner.advance(opened, end)
                    if opened.ended:
                        in_flight.pop(opened, None)
        finally:
            self._runner.cancel(window)
        if not isinstance(ended_by, StopIteration):
            raise ended_by

    def _result(self, opened: OpenImage) -> InferResult:
        image, run = None, opened.run
        if run is not None and opened.error is None:
            results = run.results
            size = run.image.size
            image = ImageDescription(
                size.width_px, size.height_px, run.image.mime_type, run.image.sha256
            )
        else:
            results = tuple(_failed(spec, opened.error) for spec in opened.specs)
        model = self.model if image is not None else None
        return InferResult("", results, image, model, response_to_wire(results, image, model))


@dataclass(frozen=True, slots=True)
class _Options:
    """Options of a call, for the tasks that do not set their own."""

    num_beams: int | None
    max_new_tokens: int | None
    constrained: bool

    def specs(self, tasks: Sequence[TaskLike]) -> tuple[TaskSpec, ...]:
        """Return the checked specs of tasks in any form.

        Raises:
            InvalidFieldError: One of them makes no sense.
        """
        return check_specs([self._spec(task) for task in tasks])

    def pair(
        self, asked: Asked, specs: tuple[TaskSpec, ...]
    ) -> tuple[ImageSource, tuple[TaskSpec, ...]]:
        """Return an image with its own tasks, or else with those of the call.

        Raises:
            InvalidFieldError: A task makes no sense, or there is none.
        """
        if isinstance(asked, tuple):
            image, tasks = asked
            return image, self.specs(tasks)
        return asked, specs or self.specs(())

    def _spec(self, task: TaskLike) -> TaskSpec:
        spec = spec_of(task)
        return replace(
            spec,
            num_beams=self.num_beams if spec.num_beams is None else spec.num_beams,
            max_new_tokens=(
                self.max_new_tokens if spec.max_new_tokens is None else spec.max_new_tokens
            ),
            constrained=spec.constrained or self.constrained,
        )


def _failed(spec: TaskSpec, error: Exception | None) -> TaskResult:
    assert isinstance(error, ArnoError)  # noqa: S101 - other errors are raised by the call
    return TaskResult(spec.id, spec.task, spec.text, spec.region, error)


def _engine_settings(model: str, settings: dict[str, Any]) -> EngineSettings:
    try:
        return EngineSettings.model_validate({"model": model, **settings})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise ConfigurationError(f"arno.load: {problems}") from error
