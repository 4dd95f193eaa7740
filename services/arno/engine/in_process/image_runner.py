"""Run images through an engine: one thread owns it, a few others prepare images for it.

Any thread may start an image. What happens to the image comes back through the inbox of the call
that started it, and that call moves it on; so an `ImageRun` is never used by two threads at once.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from arno.batching import AnswerLengths
from arno.engine.engine_loop import EngineLoop
from arno.engine.image_run import ImageRun
from arno.engine.interface import Engine, Event, SequenceFinished, SequenceRequest
from arno.engine.sequences.task_sequences import local_template
from arno.errors import CancelledError, EngineError
from arno.images.input import ImageLike, encode_image
from arno.ops.process_limits import available_cpus
from arno.vocabulary import EXPECTED_TOKENS, Lane, TaskSpec

logger = logging.getLogger(__name__)

_PREPARE_THREADS_MAX: Final = 4
_LENGTHS: Final = AnswerLengths(EXPECTED_TOKENS)
"""Of answers. They learn nothing here: that is not thread-safe, and calls are on any thread."""

ImageSource: TypeAlias = ImageLike | Callable[[], ImageLike]
"""An image, or a function that returns it, which runs on a thread that prepares images."""


@dataclass(slots=True, eq=False)
class OpenImage:
    """An image whose tasks have not all ended, or whose result has not been read.

    Attributes:
        specs: What is asked about the image.
        inbox: Queue of the call that asks: every image of the call with a sequence of it that
            ended, or with None once it is prepared or has failed.
        lane: Priority class of its sequences.
        run: Its tasks; None until the image is prepared.
        error: Why the image cannot be used, or why the engine cannot go on.
        cancelled: Whether its result will not be read.
    """

    specs: tuple[TaskSpec, ...]
    inbox: queue.SimpleQueue[tuple[OpenImage, SequenceFinished | None]] = field(repr=False)
    lane: Lane
    run: ImageRun | None = None
    error: Exception | None = None
    cancelled: bool = False

    @property
    def ended(self) -> bool:
        """Whether its result can be read."""
        return self.error is not None or (self.run is not None and self.run.ended)


Inbox: TypeAlias = queue.SimpleQueue[tuple[OpenImage, SequenceFinished | None]]


class ImageRunner:
    """Owns a warm engine and the threads around it. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        """Start the threads."""
        self.engine = engine
        self._names = itertools.count()
        self._owners: dict[str, OpenImage] = {}
        self._lock = threading.Lock()
        self._stopped_by: Exception | None = None
        self._closed = False
        self._loop = EngineLoop(engine, on_events=self._deliver)
        threads = min(_PREPARE_THREADS_MAX, available_cpus())
        self._threads: set[threading.Thread] = set()
        self._preparing = ThreadPoolExecutor(
            threads,
            "arno-prepare",
            initializer=lambda: self._threads.add(threading.current_thread()),
        )
        self._thread = threading.Thread(target=self._run_loop, name="arno-engine", daemon=True)
        self._threads.add(self._thread)
        self._thread.start()

    def start(self, image: ImageSource, opened: OpenImage) -> None:
        """Prepare an image and start its tasks, on other threads.

        Raises:
            EngineError: The engine has failed.
            RuntimeError: The runner is closed.
        """
        if self._closed:
            raise RuntimeError("the model is closed")
        if self._stopped_by is not None:
            raise self._stopped_by
        self._preparing.submit(self._prepare, image, opened)

    def advance(self, opened: OpenImage, ended: SequenceFinished | None) -> None:
        """Apply an event of the inbox to its image, and start the tasks that waited for it."""
        if opened.run is None or ended is None or opened.error is not None:
            return
        opened.run.finish(ended.sequence_id.partition("/")[2], ended)
        self._submit(opened, opened.run.plan())

    def cancel(self, images: Iterable[OpenImage]) -> None:
        """Stop images; their sequences end at the next step."""
        unwanted = set(images)
        with self._lock:
            for opened in unwanted:
                opened.cancelled = True
            names = [name for name, opened in self._owners.items() if opened in unwanted]
        self._loop.cancel(names)

    def close(self) -> None:
        """Stop the threads and free the model; calls in progress get a `CancelledError`."""
        self._closed = True
        self._stop(CancelledError("the model was closed before this image had its answers"))
        self._loop.stop()
        if threading.current_thread() in self._threads:
            # The garbage collector closes what nothing refers to, on whichever thread it runs; none
            # of these can wait for itself.
            self._preparing.shutdown(wait=False)
            return
        # Images that still wait to be prepared fail one by one, so that their calls end.
        self._preparing.shutdown(wait=True)
        self._thread.join()
        self.engine.close()

    def _prepare(self, image: ImageSource, opened: OpenImage) -> None:
        if opened.cancelled:
            return
        if self._stopped_by is not None:
            opened.error = self._stopped_by
            opened.inbox.put((opened, None))
            return
        try:
            content = encode_image(image() if callable(image) else image)
            name, prepared = str(next(self._names)), self.engine.prepare(content)
            run = ImageRun(
                dict(enumerate(opened.specs)),
                template=local_template(name, prepared, opened.lane),
                token_table=self.engine.token_table,
                lengths=_LENGTHS,
                calibration=self.engine.card.calibration,
            )
            requests = run.plan()
        except Exception as error:  # noqa: BLE001 - the call that started the image raises it
            opened.error = error
        else:
            opened.run = run
            self._submit(opened, requests)
        opened.inbox.put((opened, None))

    def _submit(self, opened: OpenImage, requests: Sequence[SequenceRequest]) -> None:
        with self._lock:
            if opened.cancelled:
                return
            if self._stopped_by is not None:
                opened.error = self._stopped_by
                return
            self._owners.update((request.sequence_id, opened) for request in requests)
            # Inside the lock, so that a cancel cannot overtake the sequences that it is for.
            self._loop.submit(requests)

    def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, SequenceFinished):
                with self._lock:
                    opened = self._owners.pop(event.sequence_id, None)
                if opened is not None:
                    opened.inbox.put((opened, event))

    def _run_loop(self) -> None:
        try:
            self._loop.run()
        except Exception as error:
            logger.exception("the engine failed")
            self._stop(EngineError(f"the engine failed: {error!r}"))

    def _stop(self, error: Exception) -> None:
        """Give an error to all images in the engine, and to every later one."""
        with self._lock:
            self._stopped_by = self._stopped_by or error
            left = set(self._owners.values())
            self._owners.clear()
        for opened in left:
            opened.error = error
            opened.inbox.put((opened, None))
