"""The ingest process: build the parts, run bridges and cameras, start again what fails, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.foreign import ForeignConsumer, Reading
from arno.bus.kafka.sender import KafkaSender
from arno.client import AsyncClient, Client
from arno.errors import ArnoError, ConfigurationError
from arno.ingest.metrics import BridgeMetrics, IngestMetrics, SourceMetrics
from arno.ingest.settings import IngestSettings, TopicRoute
from arno.ingest.topics.asker import Asker, Question
from arno.ingest.topics.bridge import BridgeParts, TopicBridge
from arno.ingest.topics.references import Fetcher
from arno.ingest.topics.shared_streams import SharedStreams
from arno.ingest.videos.cameras import Camera
from arno.ingest.videos.lines import LINE_BYTES_MAX, TopicLines
from arno.ingest.videos.preview import PreviewPages
from arno.ops.config import chosen, effective
from arno.ops.health import HealthServer, Probes
from arno.ops.logs import configure_logs
from arno.ops.signals import stop_on_signals

logger = logging.getLogger(__name__)

_PAUSE_S_MIN: Final = 0.5
_PAUSE_S_MAX: Final = 30.0
_SPARE_THREADS: Final = 8


class SupervisedBridge:
    """One route that is started again, after growing pauses, whenever its bridge fails."""

    def __init__(
        self,
        settings: IngestSettings,
        route: TopicRoute,
        client: AsyncClient,
        metrics: IngestMetrics,
    ) -> None:
        """Take what every run shares.

        Args:
            settings: Of the process.
            route: From where to where.
            client: Of the gateway.
            metrics: Of the process.
        """
        self._settings = settings
        self._route = route
        self._client = client
        self._metrics = BridgeMetrics(metrics, route.topic)
        self._bridge: TopicBridge | None = None
        self._failure = "starts"

    @property
    def problem(self) -> str:
        """What keeps it from working, after its topic; empty where nothing does."""
        problem = self._bridge.problem if self._bridge is not None else self._failure
        return problem and f"{self._route.topic}: {problem}"

    async def run(self, stop: asyncio.Event) -> bool:
        """Run until stopped; return whether everything in flight was finished."""
        pause_s = _PAUSE_S_MIN
        while not stop.is_set():
            try:
                return await self._run_once(stop)
            except Exception as error:
                self._failure = str(error)
                known = isinstance(error, ArnoError)
                logger.error(
                    "%s: failed: %s; starts again in %.1f s",
                    *(self._route.topic, error, pause_s),
                    exc_info=None if known else error,
                )
            await _wait(stop, pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        return True

    async def _run_once(self, stop: asyncio.Event) -> bool:
        route = self._route
        sender = KafkaSender(self._settings.bus_settings())
        fetcher = self._fetcher()
        question = Question(route.specs(), route.lane, route.timeout_s, route.attempts_max)
        streams = SharedStreams(self._client, question, in_flight_max=route.window)
        try:
            await asyncio.to_thread(self._connect, sender)
            asker = Asker(
                streams.infer,
                question,
                on_retry=self._metrics.retried,
                in_flight_max=route.window,
            )
            parts = self._parts(sender, asker, fetcher)
            bridge = TopicBridge(self._route, parts, drain_s=self._settings.drain_s)
            stopping = asyncio.create_task(_then(stop, bridge.stop))
            self._bridge = bridge
            try:
                return await bridge.run()
            finally:
                self._bridge = None
                stopping.cancel()
        finally:
            await streams.close()
            await sender.close()
            if fetcher is not None:
                await fetcher.close()

    def _fetcher(self) -> Fetcher | None:
        route = self._route
        if route.references is None:
            return None
        return Fetcher(
            route.references,
            image_bytes_max=route.image_bytes_max,
            attempts_max=route.attempts_max,
            on_retry=self._metrics.retried,
        )

    def _connect(self, sender: KafkaSender) -> None:
        names = [self._route.results, self._route.dead_letters]
        admin = KafkaTopicAdmin(self._settings.bus_settings())
        try:
            admin.require_topics(names)
        finally:
            admin.close()
        sender.connect(names)

    def _parts(self, sender: KafkaSender, asker: Asker, fetcher: Fetcher | None) -> BridgeParts:
        route = self._route
        bus = self._settings.bus_settings(group=route.group, window=route.window)
        return BridgeParts(
            reader=ForeignConsumer(
                bus, Reading(route.topic, route.start, route.partitions_check_s)
            ),
            sender=sender,
            asker=asker,
            metrics=self._metrics,
            fetcher=fetcher,
        )


async def serve(settings: IngestSettings, *, stop: asyncio.Event) -> bool:
    """Run everything until ``stop`` is set; return whether everything in flight was finished.

    A process whose sources are all files, without topics, ends with the last of them.

    Raises:
        ConfigurationError: It cannot be started.
    """
    registry = CollectorRegistry()
    metrics = IngestMetrics(registry)
    client = AsyncClient(settings.address, tls=settings.encryption(), api_key=settings.key_text())
    bridges = [SupervisedBridge(settings, route, client, metrics) for route in settings.topics]
    asking = Client(settings.address, tls=settings.encryption(), api_key=settings.key_text())
    open_topic = partial(_topic_lines, settings, asyncio.get_running_loop())
    pages = PreviewPages([one.name for one in settings.sources] if settings.preview else [])
    cameras = [
        Camera(
            one,
            asking,
            SourceMetrics(metrics, one.name),
            open_topic=open_topic,
            preview=pages.previews.get(one.name),
        )
        for one in settings.sources
    ]
    # A thread each for as long as they run, and some for calls that block.
    threads = ThreadPoolExecutor(len(bridges) + len(cameras) + _SPARE_THREADS)
    asyncio.get_running_loop().set_default_executor(threads)
    side_door = HealthServer(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=registry,
        probes=Probes(not_ready=partial(_problems, [*bridges, *cameras])),
        pages=pages if settings.preview else None,
    )
    side_door.start()
    counts = (len(bridges), len(cameras))
    logger.info("reads %d topics, %d videos", *counts, extra={"metrics_port": side_door.port})
    giving_up = asyncio.create_task(_give_up(asking, stop, settings.drain_s))
    try:
        async with client:
            drained = await asyncio.gather(
                *(bridge.run(stop) for bridge in bridges),
                *(_run_camera(camera, stop) for camera in cameras),
            )
    finally:
        giving_up.cancel()
        asking.close()
        pages.close()
        side_door.close()
    logger.info("stopped")
    return all(drained)


def _topic_lines(
    settings: IngestSettings, loop: asyncio.AbstractEventLoop, topic: str, source: str
) -> TopicLines:
    bus = settings.bus_settings(record_bytes_max=LINE_BYTES_MAX)
    return TopicLines(bus, topic, source, loop)


async def _run_camera(camera: Camera, stop: asyncio.Event) -> bool:
    stopping = asyncio.create_task(_then(stop, camera.stop))
    try:
        return await asyncio.to_thread(camera.run)
    finally:
        stopping.cancel()


async def _give_up(asking: Client, stop: asyncio.Event, drain_s: float) -> None:
    """End the calls about frames that are still under way so long after ``stop``."""
    await stop.wait()
    await asyncio.sleep(drain_s)
    asking.close()


def _problems(parts: Sequence[SupervisedBridge | Camera]) -> list[str]:
    return [part.problem for part in parts if part.problem]


async def _wait(stop: asyncio.Event, pause_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await stop.wait()


async def _then(stop: asyncio.Event, act: Callable[[], None]) -> None:
    await stop.wait()
    act()


def run_ingest(settings: IngestSettings) -> int:
    """Run the process until a signal ends it; return its exit status.

    Raises:
        ConfigurationError: It cannot be started.
    """
    if not settings.topics and not settings.sources:
        raise ConfigurationError("topics, sources: name at least one in the file of --config")
    configure_logs("ingest", level=settings.log_level, log_format=settings.log_format)
    logger.info("starts: %s", chosen(settings), extra={"settings": effective(settings)})
    return 0 if uvloop.run(_until_signal(settings)) else 1


async def _until_signal(settings: IngestSettings) -> bool:
    # Ended at once by a second signal: records under way are read again by the next process.
    return await serve(settings, stop=stop_on_signals())
