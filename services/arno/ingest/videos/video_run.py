"""Run one video through a gateway, and write one line of JSON for each sampled frame, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arno.client import (
    Client,
    Frame,
    FrameResult,
    InferResult,
    StreamOptions,
    StreamPolicy,
    TaskLike,
)
from arno.client.export import frame_line
from arno.ingest.pace import AdaptivePace, Stillness
from arno.ingest.videos.frames import SampledFrame, read_source
from arno.ingest.videos.ledger import Fate, FrameLedger, Told
from arno.ingest.videos.lines import Lines
from arno.ingest.videos.painter import VideoFile
from arno.ingest.videos.pictures import SourceOptions
from arno.ingest.videos.preview import Preview
from arno.ingest.videos.tracking import Observed, Tracking

_AHEAD: Final = 2
"""Frames on their way for each that the model may have: the next is there when one is answered."""

_IN_FLIGHT_MAX: Final = 64
"""Of a stream whose settings leave the number to the gateway."""

_UNLIMITED: Final = 2**31 - 1
_LOOK_S: Final = 0.2


@dataclass(slots=True)
class StreamCounts:
    """Counts of the frames so far, by outcome."""

    answered: int = 0
    held: int = 0
    dropped: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """Frames of which the outcome is known: the lines written."""
        return self.answered + self.held + self.dropped + self.failed

    def add(self, told: Told) -> str:
        """Count one outcome, and return its name; a frame with a failed task is a failed frame."""
        name = _outcome(told)
        setattr(self, name, getattr(self, name) + 1)
        return name


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is done beside asking about each frame.

    Attributes:
        pace: Leaves out frames that could not be answered in time.
        stillness: Repeats the last answer for frames that look alike.
        tracking: Follows objects.
        video: Gets the frames with their regions.
        preview: Likewise, while it is watched.
    """

    pace: AdaptivePace | None = None
    stillness: Stillness | None = None
    tracking: Tracking | None = None
    video: VideoFile | None = None
    preview: Preview | None = None

    @property
    def pictures(self) -> bool:
        """Whether anything needs the pictures of frames that are answered."""
        return self.video is not None or self.preview is not None


class VideoRun:
    """One video on its way through a gateway. `stop` may be called from any thread or signal."""

    def __init__(
        self,
        client: Client,
        source: SourceOptions,
        tasks: Sequence[TaskLike],
        options: StreamOptions,
        *,
        beside: RunOptions = RunOptions(),
    ) -> None:
        """Keep the parts; nothing is opened yet."""
        self.counts = StreamCounts()
        self._client = client
        self._source = source
        self._tasks = tasks
        self._options = options
        self._beside = beside
        self._ledger = FrameLedger(keep_pictures=beside.pictures)
        self._stopping = threading.Event()
        self._observed = Observed([], [])
        self._over = False
        self._ahead = _ahead_of(options)

    def stop(self) -> None:
        """Send no further frames; those on their way are still answered and written."""
        self._stopping.set()

    @property
    def left(self) -> int:
        """Frames of which the outcome is not known, or not written."""
        return len(self._ledger)

    def write_events(self, out: Lines, on_frame: Callable[[Told, str], None]) -> None:
        """Write every frame's line as soon as it is there.

        Args:
            out: Where the lines go; flushed after each, so that `tail -f` works.
            on_frame: Called with every frame and the name of its outcome, after its line is
                written.

        Raises:
            ArnoError: The source or the stream as a whole failed; the lines before it stand.
        """
        try:
            for result in self._client.infer_stream(
                self._frames(), *self._tasks, options=self._options
            ):
                self._ahead.release()
                for told in self._ledger.settle(result):
                    self._tell(told, out, on_frame)
        finally:
            self._over = True
            # Also after a failure: what is known is written.
            for told in self._ledger.rest():
                self._tell(told, out, on_frame)

    def _tell(self, told: Told, out: Lines, on_frame: Callable[[Told, str], None]) -> None:
        pace = self._beside.pace
        if pace is not None and told.latency_s is not None:
            pace.learn(told.latency_s, time.monotonic())
        out.write(frame_line(told.result, self._more(told)) + "\n")
        out.flush()
        if self._beside.video is not None:
            self._beside.video.add(told.frame.content, told.result)
        if self._beside.preview is not None:
            self._beside.preview.show(told.frame.content, told.result)
        on_frame(told, self.counts.add(told))

    def _more(self, told: Told) -> dict[str, Any]:
        more: dict[str, Any] = {}
        if told.frame.hash is not None:
            more["hash"] = f"{told.frame.hash:064x}"
        if told.held_from is not None:
            more["held_from"] = told.held_from
        if self._beside.tracking is not None and isinstance(told.result.outcome, InferResult):
            if told.held_from is None:
                self._observed = self._beside.tracking.observe(told.result)
            more["tracks"] = self._observed.tracks
            # An event is sent once, not again with each frame that looks the same.
            more["events"] = [] if told.held_from is not None else self._observed.events
        return more

    def _frames(self) -> Iterator[Frame]:
        for frame in read_source(self._source, self._wait):
            fate = self._fate(frame)
            self._ledger.add(frame, fate)
            if fate is Fate.SENT:
                yield Frame(frame.content, frame.sequence, frame.timestamp_ms)
                if not self._may_go_on():
                    return

    def _may_go_on(self) -> bool:
        """Wait until one more frame may be sent; return False where none will be."""
        while not self._ahead.acquire(timeout=_LOOK_S):
            if self._over or self._stopping.is_set():
                return False
        return True

    def _fate(self, frame: SampledFrame) -> Fate:
        stillness, pace = self._beside.stillness, self._beside.pace
        if stillness is not None and stillness.alike(frame.hash, frame.timestamp_ms):
            return Fate.HELD
        if pace is not None and not pace.take():
            return Fate.SKIPPED
        if stillness is not None:
            stillness.sent(frame.hash, frame.timestamp_ms)
        return Fate.SENT

    def _wait(self, pause_s: float) -> bool:
        return self._stopping.wait(pause_s)


def _ahead_of(options: StreamOptions) -> threading.Semaphore:
    """Return what is taken for each frame after the first that is sent, and released by a result.

    Frames that wait for the model wait here. The network on the way to it takes 4 MB of them and
    keeps 64 kB for each, however small it is: 700 frames and 50 MB in the gateway, and as many
    answers that are waited for at the end.
    """
    if options.policy == StreamPolicy.LATEST.lower():
        # What the model cannot answer is left out, so that the gateway must see it.
        return threading.Semaphore(_UNLIMITED)
    return threading.Semaphore(_AHEAD * (options.in_flight_max or _IN_FLIGHT_MAX))


def _outcome(told: Told) -> str:
    result: FrameResult = told.result
    if result.dropped:
        return "dropped"
    if not isinstance(result.outcome, InferResult) or not result.outcome.ok:
        return "failed"
    return "answered" if told.held_from is None else "held"
