"""Ask about many images, some at a time: by threads, or by the tasks of an asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sized,
)
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from rich.console import Console
from rich.progress import Progress

from arno.errors import ArnoError
from arno.images.input import ImageLike
from arno.vocabulary.results import InferResult

Images: TypeAlias = Iterable[ImageLike]
"""Many images, as the blocking client takes them."""

AsyncImages: TypeAlias = AsyncIterable[ImageLike] | Iterable[ImageLike]
"""Many images, as the asyncio client takes them."""

_WAITING_MAX: Final = 16
"""Times `in_flight_max`: outcomes that may wait for an earlier image when the order is kept."""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What became of one of many images.

    Attributes:
        index: Its number among the images, from 0.
        image: The image as it was given.
        outcome: The result, or why there is none.
    """

    index: int
    image: ImageLike = field(repr=False)
    outcome: InferResult | ArnoError

    @property
    def ok(self) -> bool:
        """Whether every task has an answer."""
        return isinstance(self.outcome, InferResult) and self.outcome.ok

    @property
    def error(self) -> ArnoError | None:
        """Why there is no result, or None."""
        return self.outcome if isinstance(self.outcome, ArnoError) else None

    @property
    def result(self) -> InferResult:
        """The outcome of every task.

        Raises:
            ArnoError: There is none; this is why.
        """
        if isinstance(self.outcome, ArnoError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True, slots=True)
class ManyOptions:
    """How many images are asked about.

    Attributes:
        in_flight_max: Images that are under way at once.
        ordered: Yield in the order of the images; else as they are answered.
        progress: Show a bar on standard error, or in the notebook.
    """

    in_flight_max: int = 16
    ordered: bool = True
    progress: bool = False

    @property
    def window(self) -> int:
        """Images that are under way, or wait for an earlier one."""
        return self.in_flight_max * (_WAITING_MAX if self.ordered else 1)


class _Ended(Protocol):
    """A future of a thread or of a task, as far as both are alike."""

    def done(self) -> bool: ...
    def result(self) -> ImageResult: ...


EndedT = TypeVar("EndedT", bound=_Ended)


class _Window(Generic[EndedT]):
    """The images that are under way, and the outcomes that wait for an earlier one."""

    def __init__(self, options: ManyOptions) -> None:
        self._options = options
        self._futures: deque[EndedT] = deque()

    def __bool__(self) -> bool:
        return bool(self._futures)

    @property
    def open(self) -> list[EndedT]:
        return [future for future in self._futures if not future.done()]

    @property
    def next(self) -> list[EndedT]:
        """The futures of which one must end before an outcome can be yielded."""
        return [self._futures[0]] if self._options.ordered else list(self._futures)

    @property
    def in_the_way(self) -> list[EndedT]:
        """The futures of which one must end before another image is read; none if there is room.

        To be asked after `ready`.
        """
        # Seen once: what ends from here on is in the list, and waiting for it returns at once.
        open_now = self.open
        if len(open_now) >= self._options.in_flight_max:
            return open_now if self._options.ordered else self.next
        return self.next if len(self._futures) >= self._options.window else []

    def add(self, future: EndedT) -> None:
        self._futures.append(future)

    def ready(self) -> Iterator[ImageResult]:
        """Yield the outcomes whose turn it is."""
        if not self._options.ordered:
            ended = [future for future in self._futures if future.done()]
            self._futures = deque(future for future in self._futures if future not in ended)
            for future in ended:
                yield future.result()
            return
        while self._futures and self._futures[0].done():
            yield self._futures.popleft().result()


def ask_many(
    images: Images, ask: Callable[[ImageLike], InferResult], options: ManyOptions
) -> Iterator[ImageResult]:
    """Yield what `ask` returns or raises for each image; images are read as they are needed."""

    def run(index: int, image: ImageLike) -> ImageResult:
        try:
            return ImageResult(index, image, _kept(ask(image)))
        except ArnoError as error:
            return ImageResult(index, image, error)

    window: _Window[Future[ImageResult]] = _Window(options)
    pool = ThreadPoolExecutor(options.in_flight_max, "infer")
    try:
        with _progress(images, options) as advance:
            for index, image in enumerate(images):
                window.add(pool.submit(run, index, image))
                yield from map(advance, window.ready())
                while awaited := window.in_the_way:
                    wait(awaited, return_when=FIRST_COMPLETED)
                    yield from map(advance, window.ready())
            while window:
                wait(window.next, return_when=FIRST_COMPLETED)
                yield from map(advance, window.ready())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def ask_many_async(
    images: AsyncImages, ask: Callable[[ImageLike], Awaitable[InferResult]], options: ManyOptions
) -> AsyncIterator[ImageResult]:
    """Yield what `ask` returns or raises for each image; images are read as they are needed."""

    async def run(index: int, image: ImageLike) -> ImageResult:
        try:
            return ImageResult(index, image, _kept(await ask(image)))
        except ArnoError as error:
            return ImageResult(index, image, error)

    window: _Window[asyncio.Task[ImageResult]] = _Window(options)
    index = 0
    try:
        with _progress(images, options) as advance:
            async for image in _read(images):
                window.add(asyncio.create_task(run(index, image)))
                index += 1
                for outcome in window.ready():
                    yield advance(outcome)
                while awaited := window.in_the_way:
                    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                    for outcome in window.ready():
                        yield advance(outcome)
            while window:
                await asyncio.wait(window.next, return_when=asyncio.FIRST_COMPLETED)
                for outcome in window.ready():
                    yield advance(outcome)
    finally:
        for task in window.open:
            task.cancel()


async def _read(images: AsyncImages) -> AsyncIterator[ImageLike]:
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        for image in images:
            yield image


def _kept(result: InferResult) -> InferResult:
    """Return the result without an image in memory: a list of results must not hold all images."""
    return result if isinstance(result.source, str | PathLike) else replace(result, source=None)


@contextlib.contextmanager
def _progress(
    images: object, options: ManyOptions
) -> Iterator[Callable[[ImageResult], ImageResult]]:
    """Yield what moves the bar on by an outcome and returns it."""
    if not options.progress:
        yield lambda outcome: outcome
        return
    total = len(images) if isinstance(images, Sized) else None
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("images", total=total)

        def advance(outcome: ImageResult) -> ImageResult:
            bar.advance(task)
            return outcome

        yield advance
