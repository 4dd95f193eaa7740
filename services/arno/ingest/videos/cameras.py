"""Videos and cameras as a service: each source on a thread of its own, started again when it fails.

A source that never ends by itself is opened again by its reader; here a whole run is, after growing
pauses: the gateway was away, the camera could not be opened at first, the disk was full.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

from arno.client import Client, StreamOptions
from arno.errors import ArnoError
from arno.ingest.metrics import SourceMetrics
from arno.ingest.pace import AdaptivePace, Stillness
from arno.ingest.settings import VideoSource
from arno.ingest.videos.ledger import Told
from arno.ingest.videos.lines import Lines, ManyLines, OpenTopic, file_of_lines
from arno.ingest.videos.painter import VideoFile
from arno.ingest.videos.pictures import SourceOptions
from arno.ingest.videos.preview import Preview
from arno.ingest.videos.tracking import Tracking, Watch
from arno.ingest.videos.video_run import RunOptions, VideoRun

logger = logging.getLogger(__name__)

_PAUSE_S_MIN: Final = 0.5
_PAUSE_S_MAX: Final = 30.0
_IN_FLIGHT_ADAPTIVE: Final = 64


class Camera:
    """One source. ``run`` belongs to one thread; ``stop`` may be called from any."""

    def __init__(
        self,
        source: VideoSource,
        client: Client,
        metrics: SourceMetrics,
        *,
        open_topic: OpenTopic,
        preview: Preview | None = None,
    ) -> None:
        """Take what every run shares.

        Args:
            source: What is read, asked and written.
            client: Of the gateway.
            metrics: Of this source.
            open_topic: Opens the topic that gets its lines.
            preview: Shows what it sees.
        """
        self._source = source
        self._open_topic = open_topic
        self._preview = preview
        self._client = client
        self._metrics = metrics
        self._stopping = threading.Event()
        self._run: VideoRun | None = None
        self._problem = "starts"
        self._told = 0
        self._left = 0
        self._tracking: Tracking | None = None

    @property
    def problem(self) -> str:
        """What keeps it from being answered, after its name; empty where nothing does."""
        return self._problem and f"{self._source.name}: {self._problem}"

    def stop(self) -> None:
        """Read no more; frames under way are still written."""
        self._stopping.set()
        run = self._run
        if run is not None:
            run.stop()

    def run(self) -> bool:
        """Run until stopped, or until a file ends; return whether no frame was left under way."""
        pause_s = _PAUSE_S_MIN
        while not self._stopping.is_set():
            before, problem = self._told, ""
            try:
                self._run_once()
            except (ArnoError, OSError) as error:
                problem = str(error) or type(error).__name__
            except Exception as error:
                logger.exception("%s: failed", self._source.name)
                problem = str(error) or type(error).__name__
            else:
                if self._stopping.is_set() or not self._options().live:
                    break
            if self._told > before:
                pause_s = _PAUSE_S_MIN
            if problem and not self._stopping.is_set():
                self._fail(problem, pause_s)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        self._metrics.up.set(0)
        self._problem = ""
        if self._left:
            logger.warning("%s: leaves %d frames without answers", self._source.name, self._left)
        return not self._left

    def _run_once(self) -> None:
        """Run once, from opening to its end."""
        source = self._source
        if self._tracking is None or self._options().live:
            # Times begin again with every run of a live source.
            self._tracking = _tracking(source)
        with ExitStack() as opened:
            video = opened.enter_context(_video(source))
            lines = ManyLines([opened.enter_context(place) for place in self._places()])
            run = VideoRun(
                self._client,
                self._options(),
                source.specs(),
                _stream_options(source),
                beside=RunOptions(
                    pace=AdaptivePace(source.latency_s) if source.policy == "adaptive" else None,
                    stillness=None if source.hold_bits is None else Stillness(source.hold_bits),
                    tracking=self._tracking,
                    video=video,
                    preview=self._preview,
                ),
            )
            self._run = run
            if self._stopping.is_set():
                run.stop()
            try:
                run.write_events(lines, self._count)
            finally:
                self._run, self._left = None, run.left

    def _places(self) -> Iterator[AbstractContextManager[Lines]]:
        source = self._source
        if source.events is not None:
            yield file_of_lines(source.events, "a")
        if source.topic:
            yield self._open_topic(source.topic, source.name)

    def _count(self, told: Told, outcome: str) -> None:
        self._told += 1
        self._metrics.told(outcome, told.latency_s)
        if outcome == "answered":
            self._problem = ""

    def _fail(self, problem: str, pause_s: float) -> None:
        if problem != self._problem:
            logger.error("%s: %s; starts again in %.1f s", self._source.name, problem, pause_s)
        self._problem = problem
        self._metrics.up.set(0)
        self._metrics.restarts.inc()

    def _options(self) -> SourceOptions:
        source = self._source
        options = SourceOptions(
            source.source,
            fps=source.fps,
            realtime=source.realtime,
            hashed=source.hold_bits is not None,
            key_frames=source.key_frames,
        )
        # A file goes on after the last frame that was told: one longer than its gateway ever runs
        # would not come to its end.
        return options if options.live else replace(options, begin=self._told)


def _video(source: VideoSource) -> AbstractContextManager[VideoFile | None]:
    if source.video is None:
        return nullcontext()
    _keep(source.video)
    return VideoFile(source.video)


def _keep(video: Path) -> None:
    """Give what an earlier run has written a name of its own: NAME-1.mp4, NAME-2.mp4, ..."""
    if video.is_file() and video.stat().st_size:
        names = (video.with_stem(f"{video.stem}-{number}") for number in itertools.count(1))
        video.rename(next(name for name in names if not name.exists()))


def _tracking(source: VideoSource) -> Tracking | None:
    if not (source.track or source.lines or source.zones):
        return None
    return Tracking(Watch(source.places(line=True), source.places(line=False), source.lost_s))


def _stream_options(source: VideoSource) -> StreamOptions:
    adaptive = source.policy == "adaptive"
    return StreamOptions(
        policy="all" if adaptive else source.policy,
        in_flight_max=_IN_FLIGHT_ADAPTIVE if adaptive else source.in_flight,
        frame_timeout_s=source.timeout_s,
    )
