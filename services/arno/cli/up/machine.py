"""The plan of `arno up`: its children, their flags and ports, and what they need to start."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from arno.bus import make_admin
from arno.bus.ports import TopicAdmin
from arno.bus.settings import BusSettings
from arno.cli.checks import missing_modules
from arno.cli.probes import probe_http, probe_redis
from arno.cli.servers import KNOWN_SETTINGS
from arno.cli.up.child import ChildSpec
from arno.engine.checkpoints.folders import find_model_folders, require_whole
from arno.engine.null_engine import NULL_MODEL
from arno.errors import ConfigurationError, MissingExtraError
from arno.gateway.settings import GatewaySettings
from arno.ops.config import CONFIG_FILE_VARIABLE, SettingsSources, load_settings
from arno.ops.embedded_redis import (
    RedisFiles,
    find_redis_server,
    redis_server_command,
    write_redis_files,
)
from arno.ops.ports import free_port
from arno.web.settings import AppSettings
from arno.worker.settings import WorkerSettings

_LOOPBACK: Final = "127.0.0.1"
_ALL_INTERFACES: Final = ("0.0.0.0", "::")  # noqa: S104 - what a user may ask for


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What the user decides.

    Attributes:
        folder: Where data and logs live.
        host: Address that the gateway listens on.
        port: Its port; 0 takes a free one.
        model: What the worker serves.
        bus: "redis" or "kafka".
        kafka_bootstrap: Brokers, where the bus is Kafka.
        web_port: Port of the web process on loopback; 0 takes a free one, None leaves it out.
    """

    folder: Path
    host: str
    port: int
    model: str
    bus: str
    kafka_bootstrap: str
    web_port: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """The children of one `arno up`, in the order of their start.

    Attributes:
        address: Where clients reach the gateway.
        redis_url: Where the store is.
        redis_files: The store's folder, with its password and its data.
        redis_port: Its port on loopback.
        store: The redis-server.
        gateway: The gRPC server.
        worker: The model.
        web: The page and HTTP; None without it.
        metrics: Process names to the addresses of their metrics.
    """

    address: str
    redis_url: str
    redis_files: RedisFiles
    redis_port: int
    store: ChildSpec
    gateway: ChildSpec
    worker: ChildSpec
    web: ChildSpec | None
    metrics: dict[str, str]

    def write_files(self) -> None:
        """Make the folders and files that the children need."""
        write_redis_files(self.redis_files, port=self.redis_port)


def plan_machine(options: MachineOptions) -> Machine:
    """Choose ports and command lines; nothing is started.

    Raises:
        MissingExtraError: There is no redis-server.
        ConfigurationError: The Kafka bus was asked for without saying where Kafka is.
    """
    if options.bus == "kafka" and not options.kafka_bootstrap:
        raise ConfigurationError("--bus kafka: say where it is: --kafka-bootstrap HOST:PORT")
    redis_port = free_port()
    redis_url = f"redis://{_LOOPBACK}:{redis_port}/0"
    files = RedisFiles(options.folder / "redis")
    shared = [
        "--redis-url",
        redis_url,
        "--redis-password-file",
        str(files.password),
        "--bus",
        options.bus,
        "--log-format",
        "json",
    ]
    if options.bus == "kafka":
        shared += ["--kafka-bootstrap", options.kafka_bootstrap]
    port = options.port or free_port()
    # A gateway on all interfaces is asked on this one.
    address = _joined(_LOOPBACK if options.host in _ALL_INTERFACES else options.host, port)
    metrics = {name: f"http://{_LOOPBACK}:{free_port()}" for name in ("gateway", "worker")}
    return Machine(
        address=address,
        redis_url=redis_url,
        redis_files=files,
        redis_port=redis_port,
        store=_store(files, redis_port),
        gateway=_process(
            "gateway", [*shared, "--listen", _joined(options.host, port)], metrics, address
        ),
        worker=_process("worker", [*shared, "--model", options.model], metrics, "takes jobs"),
        web=None if options.web_port is None else _web(options.web_port or free_port(), address),
        metrics=metrics,
    )


def _joined(host: str, port: int) -> str:
    """Return HOST:PORT, the host in brackets where it has colons itself."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _store(files: RedisFiles, port: int) -> ChildSpec:
    return ChildSpec(
        name="redis",
        command=redis_server_command(find_redis_server(), files),
        ready=lambda: probe_redis(_LOOPBACK, port).ok,
        address=f"{_LOOPBACK}:{port}",
    )


def _process(name: str, flags: Sequence[str], metrics: dict[str, str], address: str) -> ChildSpec:
    metrics_url = metrics[name]
    port = metrics_url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "arno.cli", name, *flags]
    return ChildSpec(
        name=name,
        command=[*command, "--metrics-host", _LOOPBACK, "--metrics-port", port],
        ready=lambda: probe_http(f"{metrics_url}/readyz").ok,
        address=address,
    )


def _web(port: int, gateway: str) -> ChildSpec:
    url = f"http://{_LOOPBACK}:{port}"
    flags = ["--address", gateway, "--web-listen", f"{_LOOPBACK}:{port}", "--log-format", "json"]
    flags += ["--metrics-host", _LOOPBACK, "--metrics-port", "0"]
    return ChildSpec(
        name="web",
        command=[sys.executable, "-m", "arno.cli", "web", *flags],
        ready=lambda: probe_http(f"{url}/livez").ok,
        address=url,
    )


def require_parts() -> None:
    """Refuse to start without the libraries of gateway and worker.

    Raises:
        MissingExtraError: Some are not installed; the message names all of them.
    """
    missing = sorted({*missing_modules("gateway"), *missing_modules("worker")})
    if missing:
        raise MissingExtraError(
            f"`arno up` needs {', '.join(missing)}, not installed: pip install 'arno[all]'",
            extra="all",
        )


def check_settings(options: MachineOptions, machine: Machine) -> None:
    """Check the settings of the children before any of them is started.

    Raises:
        ConfigurationError: Settings of a child are unknown or cannot be used.
    """
    for name, model in (("gateway", GatewaySettings), ("worker", WorkerSettings)):
        load_settings(model, _sources(name, options, machine))
    if machine.web is not None:
        web_flags = {"web_listen": machine.web.address.removeprefix("http://")}
        load_settings(AppSettings, replace(_sources("web", options, machine), flags=web_flags))


def require_model(options: MachineOptions, machine: Machine) -> None:
    """Check that the model is on this machine and whole, unless the worker may download it.

    Raises:
        ModelError: There is no such model here, or a file of it is cut short.
    """
    worker = load_settings(WorkerSettings, _sources("worker", options, machine))
    if options.model != NULL_MODEL and not worker.download:
        for folder in find_model_folders(options.model, base_model=worker.base_model).all:
            require_whole(folder)


def make_bus_admin(options: MachineOptions, machine: Machine) -> TopicAdmin:
    """Return an admin of the bus that the children use."""
    return make_admin(load_settings(BusSettings, _sources("up", options, machine)))


def _sources(process: str, options: MachineOptions, machine: Machine) -> SettingsSources:
    """Return the sources of settings of a child: the same flags over the same environment."""
    flags: dict[str, object] = {
        "bus": options.bus,
        "redis_url": machine.redis_url,
        "redis_password_file": str(machine.redis_files.password),
    }
    if options.kafka_bootstrap:
        flags["kafka_bootstrap"] = options.kafka_bootstrap
    return SettingsSources(
        process=process,
        flags=flags,
        environment=os.environ,
        file=Path(os.environ[CONFIG_FILE_VARIABLE]) if CONFIG_FILE_VARIABLE in os.environ else None,
        known_elsewhere=KNOWN_SETTINGS,
    )
