"""Videos and cameras as a service: each source on a thread of its own, started again when it fails.

A source that never ends by itself is opened again by its reader; here a whole run is, after growing
pauses: the gateway was away, the camera could not be opened at first, the disk was full.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Final

from arno.client import Client, StreamOptions
from arno.errors import ArnoError
from arno.ingest.events import RunOptions, VideoRun
from arno.ingest.ledger import Told
from arno.ingest.lines import Lines, ManyLines, OpenTopic, open_appended
from arno.ingest.metrics import SourceMetrics
from arno.ingest.pace import AdaptivePace, Stillness
from arno.ingest.painter import VideoFile
from arno.ingest.pictures import SourceOptions
from arno.ingest.preview import Preview
from arno.ingest.settings import VideoSource
from arno.ingest.tracking import Tracking, Watch

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
        """Run until stopped, or until a file ends; return True."""
        pause_s = _PAUSE_S_MIN
        while not self._stopping.is_set():
            try:
                answered = self._run_once()
            except (ArnoError, OSError) as error:
                self._fail(str(error), pause_s)
            except Exception as error:
                logger.exception("%s: failed", self._source.name)
                self._fail(str(error), pause_s)
            else:
                if self._stopping.is_set() or not self._options().live:
                    break
                pause_s = _PAUSE_S_MIN if answered else pause_s
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        self._metrics.up.set(0)
        self._problem = ""
        return True

    def _run_once(self) -> bool:
        """Run once from opening to its end; return whether any frame was answered."""
        source = self._source
        with ExitStack() as opened:
            video = opened.enter_context(_video(source))
            lines = ManyLines([opened.enter_context(place) for place in self._places()])
            run = VideoRun(
                self._client,
                self._options(),
                source.specs(),
                _stream_options(source),
                beside=_beside(source, video, self._preview),
            )
            self._run = run
            if self._stopping.is_set():
                run.stop()
            try:
                run.write_events(lines, self._count)
            finally:
                self._run = None
            return run.counts.answered > 0

    def _places(self) -> Iterator[AbstractContextManager[Lines]]:
        source = self._source
        if source.events is not None:
            yield open_appended(source.events)
        if source.topic:
            yield self._open_topic(source.topic, source.name)

    def _count(self, told: Told, outcome: str) -> None:
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
        return SourceOptions(
            source.source,
            fps=source.fps,
            realtime=source.realtime,
            hashed=source.hold_bits is not None,
            key_frames=source.key_frames,
        )


def _video(source: VideoSource) -> AbstractContextManager[VideoFile | None]:
    return nullcontext() if source.video is None else VideoFile(source.video)


def _beside(source: VideoSource, video: VideoFile | None, preview: Preview | None) -> RunOptions:
    tracked = source.track or source.lines or source.zones
    watch = Watch(source.places(line=True), source.places(line=False), source.lost_s)
    return RunOptions(
        pace=AdaptivePace(source.latency_s) if source.policy == "adaptive" else None,
        stillness=None if source.hold_bits is None else Stillness(source.hold_bits),
        tracking=Tracking(watch) if tracked else None,
        video=video,
        preview=preview,
    )


def _stream_options(source: VideoSource) -> StreamOptions:
    adaptive = source.policy == "adaptive"
    return StreamOptions(
        policy="all" if adaptive else source.policy,
        in_flight_max=_IN_FLIGHT_ADAPTIVE if adaptive else source.in_flight,
        frame_timeout_s=source.timeout_s,
    )
