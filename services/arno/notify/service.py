"""The notify process: its metrics, one deliverer a subscription, and the trimming of the outbox."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.sender import KafkaSender
from arno.errors import BackendUnavailableError, ConfigurationError
from arno.notify.deliverer import Deliverer
from arno.notify.metrics import NotifyMetrics
from arno.notify.settings import NotifySettings, Subscription
from arno.notify.targets import Target, TopicTarget, WebhookTarget
from arno.ops.config import chosen, effective
from arno.ops.health import HealthServer, Probes
from arno.ops.logs import configure_logs
from arno.ops.periodic import PeriodicTask
from arno.ops.signals import stop_on_signals
from arno.results.outbox import Outbox

logger = logging.getLogger(__name__)

_TIDY_EVERY_S: Final = 2.0
_CONNECT_PAUSE_S: Final = 2.0


async def serve(settings: NotifySettings, *, stop: asyncio.Event) -> None:
    """Deliver events until ``stop`` is set.

    Raises:
        ConfigurationError: It cannot be started.
    """
    registry = CollectorRegistry()
    metrics = NotifyMetrics(registry, [one.name for one in settings.subscriptions])
    outbox = Outbox(settings, member=f"{socket.gethostname()}-{secrets.token_hex(4)}")
    deliverers: list[Deliverer] = []
    side_door = HealthServer(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=registry,
        probes=Probes(not_ready=partial(_problems, deliverers)),
    )
    side_door.start()
    sender = KafkaSender(settings.kafka())
    tidying = PeriodicTask(
        "tidying the outbox", partial(_tidy, outbox, metrics, settings), interval_s=_TIDY_EVERY_S
    )
    targets: dict[str, Target] = {}
    try:
        topics = sorted({one.topic for one in settings.subscriptions if one.topic})
        if topics and not await _connected(sender, settings, topics, stop):
            return
        for one in settings.subscriptions:
            targets[one.name] = _target(one, sender, settings)
            deliverers.append(
                Deliverer(one, outbox, targets[one.name], metrics, silence_s=settings.silence_s)
            )
        tidying.start()
        logger.info("serves %d subscriptions", len(deliverers), extra={"port": side_door.port})
        await asyncio.gather(*(one.run(stop) for one in deliverers))
    finally:
        await tidying.close()
        await _close(targets)
        await sender.close()
        await outbox.close()
        side_door.close()
    logger.info("stopped")


def _problems(deliverers: Sequence[Deliverer]) -> list[str]:
    if not deliverers:
        return ["waits for Kafka"]
    return [one.problem for one in deliverers if one.problem]


async def _connected(
    sender: KafkaSender, settings: NotifySettings, topics: Sequence[str], stop: asyncio.Event
) -> bool:
    """Connect to Kafka, however long that takes; return False where we are to stop."""
    told = ""
    while not stop.is_set():
        try:
            await asyncio.to_thread(_connect, sender, settings, topics)
        except BackendUnavailableError as error:
            if told != error.message:
                logger.warning("%s; tried again", error.message)
            told = error.message
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CONNECT_PAUSE_S):
                    await stop.wait()
        else:
            return True
    return False


def _connect(sender: KafkaSender, settings: NotifySettings, topics: Sequence[str]) -> None:
    admin = KafkaTopicAdmin(settings.kafka())
    try:
        admin.require_topics(topics)
    finally:
        admin.close()
    sender.connect(topics)


def _target(subscription: Subscription, sender: KafkaSender, settings: NotifySettings) -> Target:
    if subscription.webhook is not None:
        return WebhookTarget(subscription.webhook, source=settings.events_source)
    return TopicTarget(sender, subscription, source=settings.events_source)


async def _close(targets: Mapping[str, Target]) -> None:
    for target in targets.values():
        await target.close()


async def _tidy(outbox: Outbox, metrics: NotifyMetrics, settings: NotifySettings) -> None:
    with contextlib.suppress(BackendUnavailableError):
        await outbox.trim()
        for one in settings.subscriptions:
            metrics.waiting.labels(one.name).set(await outbox.waiting_count(one.name))


def run_notify(settings: NotifySettings) -> None:
    """Run the process until a signal ends it.

    Raises:
        ConfigurationError: It cannot be started.
    """
    if not settings.subscriptions:
        raise ConfigurationError("subscriptions: name at least one in the file of --config")
    configure_logs("notify", level=settings.log_level, log_format=settings.log_format)
    logger.info("starts: %s", chosen(settings), extra={"settings": effective(settings)})
    asyncio.run(_until_signal(settings))


async def _until_signal(settings: NotifySettings) -> None:
    await serve(settings, stop=stop_on_signals())
