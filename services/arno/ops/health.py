"""The HTTP endpoints for operators: ``/metrics``, ``/livez``, ``/readyz`` and ``/startupz``.

Alive means that the process can still do its work and must not be restarted; ready means that it
may be given work now; started means that what takes long at its start is over. Each is answered
from a function that the process passes in, which returns the reasons against it. Metrics of the
process itself and of its build are added to its own.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Gauge, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from arno import __version__
from arno.errors import ConfigurationError

Reasons = Callable[[], Sequence[str]]
"""Returns the reasons against it; empty means yes. Must not block: called on each probe."""


Pages = Callable[[BaseHTTPRequestHandler, str], bool]
"""Answers a request for a page of the process's own, by its path; False where it has no such page.

Called on the server's threads."""


def _nothing() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Probes:
    """What a process says of itself.

    Attributes:
        not_ready: Why it may not be given work.
        not_alive: Why it must be restarted.
        not_started: What it still does before it can be judged by the other two.
        problems: What is wrong and no reason for any of them; ``/readyz`` shows it too.
    """

    not_ready: Reasons = _nothing
    not_alive: Reasons = _nothing
    not_started: Reasons = _nothing
    problems: Reasons = _nothing


class HealthServer:
    """Serves probes and metrics on its own threads; one thread calls ``start`` and ``close``."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        registry: CollectorRegistry,
        probes: Probes,
        pages: Pages | None = None,
        setting: str = "metrics_host, metrics_port",
    ) -> None:
        """Bind the address.

        Args:
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            registry: The metrics of the process; those of process and build are added to it.
            probes: What the process says of itself.
            pages: What else it shows.
            setting: Names the address in the error.

        Raises:
            ConfigurationError: The address cannot be had.
        """
        register_process_metrics(registry)
        handler = _handler(registry, probes, pages)
        try:
            self._server = _Server((host, port), handler)
        except (OSError, OverflowError) as fault:
            why = getattr(fault, "strerror", None) or fault
            raise ConfigurationError(f"{setting}: cannot listen on {host}:{port}: {why}") from fault
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="health",
            daemon=True,
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port. Idempotent."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def register_process_metrics(registry: CollectorRegistry) -> None:
    """Add CPU time, memory, open files, garbage collections and versions of this process."""
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    Gauge(
        "arno_build_info",
        "Always 1; its labels are the versions of Arno, of Python and, where installed, of torch.",
        ["version", "python", "torch"],
        registry=registry,
    ).labels(__version__, platform.python_version(), _torch_version()).set(1)


def _torch_version() -> str:
    # From the metadata: most processes never import torch.
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: a probe that hangs up early is no event."""


def _handler(
    registry: CollectorRegistry, probes: Probes, pages: Pages | None
) -> type[BaseHTTPRequestHandler]:
    against = {
        "/livez": probes.not_alive,
        "/readyz": probes.not_ready,
        "/startupz": probes.not_started,
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.split("?", 1)[0]
            if path == "/metrics":
                encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, content_type, encoder(registry))
            elif path in against:
                reasons = list(against[path]())
                told = [*(reasons or ["ok"]), *(probes.problems() if path == "/readyz" else ())]
                body = "".join(f"{line}\n" for line in told)
                self._answer(503 if reasons else 200, "text/plain; charset=utf-8", body.encode())
            elif pages is None or not pages(self, path):
                self._answer(404, "text/plain", b"try /metrics, /livez, /readyz or /startupz\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: probes come every few seconds."""

    return Handler
