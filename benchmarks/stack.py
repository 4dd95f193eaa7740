"""Run all of Arno on this machine for a measurement: Kafka, Redis, gateway, workers; all real.

The servers are those of the tests. Every process is a child that dies with this one.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any, Literal

import psutil
from arno.ops.ports import free_port
from support import tied_process
from support.kafka_broker import WAYS_TO_GET_IT as KAFKA_IS_MISSING
from support.kafka_broker import KafkaBroker, kafka_available
from support.redis_server import WAYS_TO_GET_IT as REDIS_IS_MISSING
from support.redis_server import RedisServer, redis_executables

_READY_S = 60.0
_LEAVE_S = 10.0


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs.

    Attributes:
        target: The gateway's address.
        targets: Those of all gateways; the second one is called ``gateway-2``, and so on.
        pids: By the part's name: kafka, redis, gateway, worker.
        metrics_urls: Likewise, of the parts that are Arno's.
        folder: With their logs: ``gateway.log`` and so on.
        kafka_bootstrap: Where Kafka is; empty where none runs.
        redis_url: Where Redis is.
    """

    target: str
    pids: Mapping[str, int]
    metrics_urls: Mapping[str, str]
    folder: Path
    kafka_bootstrap: str = ""
    targets: tuple[str, ...] = ()
    redis_url: str = ""

    def busy_s(self) -> dict[str, float]:
        """Return the processor seconds of every part since its start."""
        return {name: _busy_s(pid) for name, pid in self.pids.items()}

    def rss_bytes(self) -> dict[str, int]:
        """Return the memory of every part."""
        return {name: psutil.Process(pid).memory_info().rss for name, pid in self.pids.items()}


@contextmanager
def running_stack(  # noqa: PLR0913 - one for each part
    folder: Path,
    *,
    bus: Literal["kafka", "redis"] = "kafka",
    gateway: Mapping[str, Any] | None = None,
    worker: Mapping[str, Any] | None = None,
    worker_module: str = "arno.cli",
    kafka: bool = False,
    gateways: int = 1,
) -> Iterator[Stack]:
    """Start everything, wait until it is ready, and end it.

    Args:
        folder: Empty; for data and logs.
        bus: Without Kafka, everything goes through Redis.
        gateway: Settings of the gateway, by field.
        worker: Settings of the worker; the model is ``null`` where it is not said.
        worker_module: What is run with the verb ``worker``.
        kafka: Run a broker although the bus does not need it.
        gateways: How many, all with the same settings.
    """
    with ExitStack() as stack:
        redis = _redis(folder, stack)
        shared = {"bus": bus, "redis_url": redis.url}
        servers = {"redis": redis.port}
        bootstrap = ""
        if bus == "kafka" or kafka:
            broker = _kafka(folder, stack)
            bootstrap = broker.bootstrap
            servers["kafka"] = broker.port
        if bus == "kafka":
            shared["kafka_bootstrap"] = bootstrap
        _arno(folder, "topics create", shared).wait()
        targets = tuple(f"127.0.0.1:{free_port()}" for _ in range(gateways))
        parts = {
            "gateway" if number == 0 else f"gateway-{number + 1}": {
                **shared,
                "listen": target,
                **(gateway or {}),
            }
            for number, target in enumerate(targets)
        }
        parts["worker"] = {**shared, "model": "null", **(worker or {})}
        metrics_urls, children = {}, {}
        for name, settings in parts.items():
            port = free_port()
            module = worker_module if name == "worker" else "arno.cli"
            children[name] = _arno(folder, name, {**settings, "metrics_port": port}, module)
            stack.callback(tied_process.stop, children[name], timeout_s=_LEAVE_S)
            metrics_urls[name] = f"http://127.0.0.1:{port}"
        for name, child in children.items():
            _await_ready(child, metrics_urls[name], folder / f"{name}.log")
        pids = {name: _pid_of(port) for name, port in servers.items()}
        pids |= {name: child.pid for name, child in children.items()}
        yield Stack(targets[0], pids, metrics_urls, folder, bootstrap, targets, redis.url)


def _kafka(folder: Path, stack: ExitStack) -> KafkaBroker:
    if not kafka_available():
        sys.exit(KAFKA_IS_MISSING)
    broker = KafkaBroker(folder / "kafka")
    stack.callback(broker.stop)
    broker.start()
    return broker


def _redis(folder: Path, stack: ExitStack) -> RedisServer:
    executables = list(redis_executables().values())
    if not executables:
        sys.exit(REDIS_IS_MISSING)
    redis = RedisServer(folder / "redis", executables[0])
    stack.callback(redis.stop)
    redis.start()
    return redis


def _arno(
    folder: Path, name: str, settings: Mapping[str, Any], module: str = "arno.cli"
) -> Popen[bytes]:
    """Start the verb of a name: ``gateway-2`` is a gateway with a log of its own."""
    command = [sys.executable, "-m", module, *name.partition("-")[0].split()]
    named = {f"ARNO_{field.upper()}": str(value) for field, value in settings.items()}
    return tied_process.start_tied(
        command,
        log=folder / f"{name.split(maxsplit=1)[0]}.log",
        environment={**os.environ, **named},
    )


def _await_ready(child: Popen[bytes], url: str, log: Path) -> None:
    until_s = time.monotonic() + _READY_S
    while child.poll() is None and time.monotonic() < until_s:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 - our own child
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise RuntimeError(f"{log.stem} is not ready (exit {child.poll()}):\n{tail}")


def _pid_of(port: int) -> int:
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.laddr.port == port and connection.pid:
            return int(connection.pid)
    raise RuntimeError(f"nobody listens on port {port}")


def _busy_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
