"""Run one video through a gateway, and write one line of JSON for each sampled frame, in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from arno.client import Client, Frame, FrameResult, InferResult, StreamOptions, TaskLike
from arno.client.export import frame_line
from arno.ingest.frames import SourceOptions, read_source


@dataclass(slots=True)
class StreamCounts:
    """Counts of the frames so far, by outcome."""

    answered: int = 0
    dropped: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """Frames of which the outcome is known: the lines written."""
        return self.answered + self.dropped + self.failed

    def add(self, frame: FrameResult) -> None:
        """Count one outcome; a frame with a failed task is a failed frame."""
        if frame.dropped:
            self.dropped += 1
        elif isinstance(frame.outcome, InferResult) and frame.outcome.ok:
            self.answered += 1
        else:
            self.failed += 1


class VideoRun:
    """One video on its way through a gateway. `stop` may be called from any thread or signal."""

    def __init__(
        self,
        client: Client,
        source: SourceOptions,
        tasks: Sequence[TaskLike],
        options: StreamOptions,
    ) -> None:
        """Keep the parts; nothing is opened yet."""
        self.counts = StreamCounts()
        self._client = client
        self._source = source
        self._tasks = tasks
        self._options = options
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Send no further frames; those on their way are still answered and written."""
        self._stopping.set()

    def write_events(self, out: IO[str], on_frame: Callable[[FrameResult], None]) -> None:
        """Write every frame's line as soon as it is there.

        Args:
            out: Where the lines go; flushed after each, so that `tail -f` works.
            on_frame: Called with every outcome, after its line is written.

        Raises:
            ArnoError: The source or the stream as a whole failed; the lines before it stand.
        """
        for frame in self._client.infer_stream(self._frames(), *self._tasks, options=self._options):
            out.write(frame_line(frame) + "\n")
            out.flush()
            self.counts.add(frame)
            on_frame(frame)

    def _frames(self) -> Iterator[Frame]:
        for frame in read_source(self._source, self._wait):
            yield Frame(frame.content, frame.sequence, frame.timestamp_ms)

    def _wait(self, pause_s: float) -> bool:
        return self._stopping.wait(pause_s)
