"""The web process: listen, serve until SIGTERM, end open requests in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from arno.client import AsyncClient
from arno.errors import ConfigurationError
from arno.ops.config import chosen, effective
from arno.ops.health import HealthServer, Probes
from arno.ops.logs import configure_logs
from arno.web.app import GatewayWatch, make_app
from arno.web.settings import AppSettings, WebSettings

logger = logging.getLogger(__name__)


def run_app(settings: AppSettings, connect: Callable[[], AsyncClient]) -> None:
    """Run the web process, with its metrics and probes on a port of their own.

    Args:
        settings: Its settings.
        connect: Makes the client of the gateway; called in the loop that serves.

    Raises:
        ConfigurationError: An address cannot be had.
    """
    registry, watch = CollectorRegistry(), GatewayWatch()
    side_door = HealthServer(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=registry,
        probes=Probes(not_ready=watch.problems),
    )
    side_door.start()
    try:
        app = make_app(settings, connect, registry=registry, watch=watch)
        run(settings, app, metrics_port=side_door.port)
    finally:
        side_door.close()


def run(
    settings: WebSettings, app: ASGIApp, *, process: str = "web", metrics_port: int | None = None
) -> None:
    """Run the process until it is told to end.

    Args:
        settings: Where to listen, and limits.
        app: What to serve.
        process: The process's name in its logs.
        metrics_port: Where its metrics are, for the log.

    Raises:
        ConfigurationError: The address cannot be had.
    """
    configure_logs(process, level=settings.log_level, log_format=settings.log_format)
    # It says in many lines what this process says in one.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logger.info("starts: %s", chosen(settings), extra={"settings": effective(settings)})
    with listening(settings) as listener:
        port = listener.getsockname()[1]
        ports = {"port": port, "metrics_port": metrics_port}
        logger.info("serving on http://%s:%d", settings.host, port, extra=ports)
        asyncio.run(_serve_until_signal(WebServer(settings, app), listener))
    logger.info("stopped")


@contextlib.contextmanager
def listening(settings: WebSettings) -> Iterator[socket.socket]:
    """Bind the address.

    Raises:
        ConfigurationError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        why = error.strerror or error
        sentence = f"--web-listen {settings.web_listen}: cannot listen there: {why}"
        raise ConfigurationError(sentence) from error
    with listener:
        yield listener


async def _serve_until_signal(server: WebServer, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve(sockets=[listener])


class WebServer(uvicorn.Server):
    """Serves the application. Ends like the other processes: signals are for its caller."""

    def __init__(self, settings: WebSettings, app: ASGIApp) -> None:
        """Take limits, and the application."""
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            limit_concurrency=settings.web_connections_max,
            timeout_graceful_shutdown=round(settings.web_drain_s),
        )
        super().__init__(config)

    def stop(self) -> None:
        """End: no new connections, open requests have their time."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: uvicorn would raise them again at its end."""
        yield
