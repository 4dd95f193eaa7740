"""The gateway process: build the adapters, serve until SIGTERM, leave in order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
import sys
from typing import Final

import click
import uvloop
from prometheus_client import CollectorRegistry

from arno.bus import make_publisher
from arno.errors import ArnoError
from arno.gateway.access.access import exposure_warnings
from arno.gateway.full_collections import FullCollections
from arno.gateway.gateway import Gateway
from arno.gateway.settings import GatewaySettings
from arno.ops.clock import StoreClock
from arno.ops.config import chosen, effective
from arno.ops.flags import settings_options
from arno.ops.health import HealthServer, Probes
from arno.ops.logs import configure_logs
from arno.ops.process_limits import raise_open_files_max, share_interpreter
from arno.ops.tracing import configure_tracing, current_trace_id
from arno.results.gateway_store import GatewayStore

logger = logging.getLogger(__name__)

_OTHER_FILES_COUNT: Final = 256
"""What is open beside connections of callers: to Redis, the bus and scrapers, logs, libraries."""


async def serve(settings: GatewaySettings, *, stop: asyncio.Event) -> None:
    """Run a gateway until ``stop`` is set.

    Raises:
        ArnoError: It cannot be started.
    """
    # Wake-ups for a gateway that has gone must not reach the one that follows it.
    gateway_id = f"{socket.gethostname()}-{secrets.token_hex(8)}"
    registry = CollectorRegistry()
    gateway = Gateway(
        settings,
        publisher=make_publisher(settings),
        store=GatewayStore(settings, gateway=gateway_id, clock=StoreClock()),
        registry=registry,
    )
    for warning in (*exposure_warnings(settings.listen, settings), *retention_warnings(settings)):
        logger.warning(warning)
    side_door = HealthServer(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=registry,
        probes=Probes(
            not_ready=gateway.not_ready,
            not_alive=gateway.not_alive,
            problems=gateway.problems,
        ),
    )
    side_door.start()
    try:
        if await _started(gateway, stop):
            ports = {"port": gateway.port, "metrics_port": side_door.port}
            logger.info("serving on %s", settings.listen, extra={"gateway_id": gateway_id, **ports})
            await _until(stop, FullCollections(gateway.open_call_count))
    finally:
        await gateway.stop()
        side_door.close()
    logger.info("stopped")


async def _started(gateway: Gateway, stop: asyncio.Event) -> bool:
    """Start, unless a signal comes while a backend is still waited for."""
    starting, leaving = asyncio.create_task(gateway.start()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            return True
        return False
    finally:
        for task in (starting, leaving):
            task.cancel()
        await asyncio.gather(starting, leaving, return_exceptions=True)


async def _until(stop: asyncio.Event, collections: FullCollections) -> None:
    collecting = asyncio.create_task(collections.run())
    try:
        await stop.wait()
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)


def run(settings: GatewaySettings) -> None:
    """Run the process until a signal ends it.

    Raises:
        ArnoError: It cannot be started.
    """
    configure_logs(
        "gateway",
        level=settings.log_level,
        log_format=settings.log_format,
        trace_id=current_trace_id,
    )
    configure_tracing("gateway")
    share_interpreter()
    logger.info("starts: %s", chosen(settings), extra={"settings": effective(settings)})
    _provide_for_connections(settings)
    uvloop.run(_run_until_signal(settings))


def _provide_for_connections(settings: GatewaySettings) -> None:
    """Let every call have a connection of its own; else callers could take those to the store."""
    wanted_count = settings.calls_max + _OTHER_FILES_COUNT
    found_count = raise_open_files_max(wanted_count)
    if found_count < wanted_count:
        logger.warning(
            "this process may open %d files; %d calls (calls_max), each on a connection of its "
            "own, would need %d: raise `ulimit -n`, or lower calls_max",
            found_count,
            settings.calls_max,
            wanted_count,
        )


def retention_warnings(settings: GatewaySettings) -> list[str]:
    """Return a warning where jobs may wait for longer than Kafka keeps them."""
    longest_s, kept_s = settings.job_time_to_live_s_max, settings.kafka_retention_s
    if settings.bus != "kafka" or longest_s <= kept_s:
        return []
    return [
        f"job_time_to_live_s_max: jobs may wait for {longest_s} s, and topics of Kafka keep them "
        f"for {kept_s} s (kafka_retention_s)"
    ]


async def _run_until_signal(settings: GatewaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop=stop)


def main() -> None:
    """Run ``python -m arno.gateway.main``: flags, variables and file as in ``arno gateway``."""
    command = click.command()(settings_options(GatewaySettings, process="gateway")(run))
    try:
        command()
    except ArnoError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
