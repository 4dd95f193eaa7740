"""The findings of `arno doctor`: each checks one thing and advises what to do."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from arno import __version__
from arno.bus import BusSettings, make_admin
from arno.cli.connecting import API_KEY_VARIABLE, Connection
from arno.cli.probes import probe_port, probe_redis, probe_tls
from arno.engine.checkpoints.folders import find_model
from arno.errors import ArnoError, ConfigurationError, UnauthenticatedError, UnknownJobError
from arno.ops.embedded_redis import find_redis_server
from arno.ops.processor import read_processor
from arno.ops.redis_access import RedisAccessSettings
from arno.ops.tls import client_context


class Level(StrEnum):
    """How a finding stands."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        level: How it stands.
        subject: What was looked at.
        found: What is there.
        advice: What to do about it; empty where nothing is.
    """

    level: Level
    subject: str
    found: str
    advice: str = ""


_SERVER: Final = ("kafka", "opentelemetry", "prometheus_client", "redis")
_WEB: Final = ("aiohttp", "prometheus_client", "python_multipart", "starlette", "uvicorn")
_EXTRAS: Final = {
    "gateway": ("grpc_reflection", "uvloop", *_SERVER),
    "worker": ("torch", "transformers", "tokenizers", "safetensors", "numpy", *_SERVER),
    "ingest": ("aiohttp", "av", "uvloop", "yaml", *_SERVER),
    "track": ("trackers", "aiohttp", "av", "uvloop", "yaml", *_SERVER),
    "notify": ("aiohttp", "cloudevents", "yaml", *_SERVER),
    "web": _WEB,
    "mcp": ("mcp", *_WEB),
}
_WORKER_EXTRA: Final = "pip install 'arno[worker]'"
_PYTHON_MIN: Final = (3, 11)
_DISK_BYTES_MIN: Final = 1024**3
_TIMEOUT_S: Final = 3.0
_NO_JOB: Final = "doctor"
_DAY_S: Final = 24 * 3600
_CERTIFICATE_DAYS_MIN: Final = 14


def check_python() -> Finding:
    """Look at the interpreter and the system."""
    found = f"arno {__version__}, Python {platform.python_version()}, {platform.system()}"
    if sys.version_info < _PYTHON_MIN:
        return Finding(Level.FAIL, "python", found, "use Python 3.11 or newer")
    if platform.system() != "Linux":
        return Finding(Level.WARN, "python", found, "servers are tested on Linux only")
    return Finding(Level.OK, "python", found)


def missing_modules(extra: str) -> list[str]:
    """Return what is not there of the modules that an extra brings."""
    return [name for name in _EXTRAS[extra] if importlib.util.find_spec(name) is None]


def check_extras() -> Iterator[Finding]:
    """Look for the parts that each extra brings."""
    for extra in _EXTRAS:
        missing = missing_modules(extra)
        if missing:
            found = f"not installed: {', '.join(missing)}"
            yield Finding(
                Level.WARN, f"extra {extra}", found, f"pip install 'arno[{extra}]', if you need it"
            )
        else:
            yield Finding(Level.OK, f"extra {extra}", "installed")


def check_redis_server() -> Finding:
    """Look for the redis-server of `arno up`."""
    try:
        return Finding(Level.OK, "redis-server", str(find_redis_server()))
    except ArnoError as error:
        return Finding(Level.WARN, "redis-server", "none", f"for `arno up`: {error.message}")


def check_java() -> Finding:
    """Look for Java, which only a Kafka broker on this machine needs."""
    java = shutil.which("java")
    if java is None:
        advice = "only a Kafka broker on this machine needs it: install Java 17"
        return Finding(Level.WARN, "java", "none", advice)
    said = _said([java, "-version"])
    return Finding(Level.OK, "java", said.splitlines()[0] if said else java)


def check_device() -> Finding:
    """Look for a GPU and for a torch that can use it, without loading torch: that takes long."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Finding(Level.WARN, "device", "torch is not installed", _WORKER_EXTRA)
    tool = shutil.which("nvidia-smi")
    listed = _said([tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]) if tool else ""
    if not listed:
        has = read_processor().instructions
        found = f"no GPU; torch {torch} runs on {os.cpu_count()} CPU cores with {has}"
        return Finding(Level.OK, "device", found)
    found = f"{'; '.join(listed.splitlines())}; torch {torch}"
    if torch.endswith("+cpu"):
        return Finding(Level.WARN, "device", found, "this torch uses no GPU: install one for CUDA")
    return Finding(Level.OK, "device", found)


def check_model(model: str) -> Finding:
    """Look whether a model's files are there and can be read; nothing is loaded."""
    if model == "null":
        return Finding(Level.OK, "model", "null: answers nothing real")
    if importlib.util.find_spec("torch") is None:
        return Finding(Level.WARN, "model", "cannot look: torch is not installed", _WORKER_EXTRA)
    try:
        folder = find_model(model)
    except ArnoError as error:
        return Finding(Level.FAIL, "model", error.message, "name one that is here: --model")
    except ModuleNotFoundError as error:
        return Finding(Level.WARN, "model", f"cannot look: no {error.name}", _WORKER_EXTRA)
    return _check_weights(model, folder)


def _check_weights(model: str, folder: Path) -> Finding:
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    if not weights:
        advice = "name the folder with config.json and model.safetensors"
        return Finding(Level.FAIL, "model", f"{folder} has no weights", advice)
    unreadable = [path.name for path in weights if not os.access(path, os.R_OK)]
    if unreadable:
        found = f"{folder}: cannot read {', '.join(unreadable)}"
        return Finding(Level.FAIL, "model", found, "correct the permissions")
    size_bytes = sum(path.stat().st_size for path in weights)
    return Finding(Level.OK, "model", f"{model}: {size_bytes / 1e6:.0f} MB of weights")


def check_redis(settings: RedisAccessSettings) -> Finding:
    """Ask the Redis of these settings whether it answers."""
    url = urlsplit(settings.redis_url)
    advice = "start it, or correct --redis-url; rediss:// and ARNO_REDIS_CA for TLS"
    try:
        host, port = url.hostname or "", url.port or 6379
    except ValueError as error:
        return Finding(Level.FAIL, "redis", str(error), advice)
    try:
        settings.redis_options()
        probe = probe_redis(host, port, _redis_context(settings))
    except ArnoError as error:
        return Finding(Level.FAIL, "redis", error.message, "correct the settings that it names")
    if probe.ok:
        tls = ", over TLS" if url.scheme == "rediss" else ""
        return Finding(Level.OK, "redis", f"{host}:{port} answers{tls}")
    return Finding(Level.FAIL, "redis", f"{host}:{port}: {probe.said}", advice)


def _redis_context(settings: RedisAccessSettings) -> ssl.SSLContext | None:
    if not settings.redis_url.startswith("rediss://"):
        return None
    files = (settings.redis_ca, settings.redis_client_cert, settings.redis_client_key)
    return client_context(*files, prefix="redis")


def check_kafka(bootstrap: str) -> Iterator[Finding]:
    """Connect to every Kafka broker of the list."""
    for broker in filter(None, (part.strip() for part in bootstrap.split(","))):
        host, port = split_address(broker, 9092)
        probe = probe_port(host, port)
        if probe.ok:
            yield Finding(Level.OK, "kafka", f"{host}:{port} accepts connections")
        else:
            advice = "start it (make kafka), or correct --kafka-bootstrap"
            yield Finding(Level.FAIL, "kafka", f"{host}:{port}: {probe.said}", advice)


def check_login(settings: BusSettings) -> Finding:
    """Ask Kafka, or Redis where it is the bus of these settings, as the user that they name."""
    what = settings.bus
    try:
        with contextlib.closing(make_admin(settings)) as admin:
            topics = admin.describe()
    except ArnoError as error:
        advice = f"correct user, password and TLS: ARNO_{what.upper()}_*"
        return Finding(Level.FAIL, what, error.message, advice)
    user = settings.kafka_username if what == "kafka" else settings.redis_username
    found = f"answers the user {user}" if user else "answers"
    if what == "kafka" and not topics:
        return Finding(Level.WARN, what, f"{found}; it has no topics", "arno topics create")
    return Finding(Level.OK, what, f"{found}, {len(topics)} topics" if topics else found)


def check_retention(settings: BusSettings) -> Iterator[Finding]:
    """Look whether the topics of Kafka keep records for as long as jobs may wait."""
    try:
        with contextlib.closing(make_admin(settings)) as admin:
            faults = admin.retention_faults()
    except ArnoError as error:
        yield Finding(Level.WARN, "retention", f"cannot tell: {error.message}")
        return
    for fault in faults:
        found, _, advice = fault.partition(": set ")
        yield Finding(Level.FAIL, "retention", found, f"kafka-configs.sh --alter: {advice}")
    if not faults:
        yield Finding(Level.OK, "retention", "topics keep jobs for as long as they may wait")


def check_port(port: int) -> Finding:
    """Look whether `arno up` could listen on its port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            advice = "`arno up --port 0` takes a free one"
            return Finding(Level.WARN, "port", f"{port}: {error.strerror or error}", advice)
    return Finding(Level.OK, "port", f"{port} is free")


def check_disk(folder: Path, *, named: bool) -> Finding:
    """Look whether the data folder can be written and has room; only `arno up` needs it."""
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    if not os.access(existing, os.W_OK) and not named:
        found = f"{existing} cannot be written"
        return Finding(Level.WARN, "data", found, "for `arno up` name another: --data")
    if not os.access(existing, os.W_OK):
        return Finding(Level.FAIL, "data", f"{existing} cannot be written", "name another: --data")
    free = shutil.disk_usage(existing).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    if free < _DISK_BYTES_MIN:
        return Finding(Level.WARN, "data", found, "jobs and results need room")
    return Finding(Level.OK, "data", found)


def check_gateway(gateway: Connection) -> Finding:
    """Ask a gateway whether it is ready, and whether it would take our calls."""
    try:
        with gateway.client(timeout_s=_TIMEOUT_S) as client:
            if not client.ready(timeout_s=_TIMEOUT_S):
                return _unready_gateway(gateway)
            with contextlib.suppress(UnknownJobError):
                client.get(_NO_JOB)
    except UnauthenticatedError as error:
        advice = f"set {API_KEY_VARIABLE} or --api-key-file; operators: arno keys list"
        found = f"{gateway.address} is ready, but {error.message}"
        return Finding(Level.FAIL, "gateway", found, advice)
    except ConfigurationError as error:
        return Finding(Level.FAIL, "gateway", error.message, "correct --address or the --tls files")
    except ArnoError as error:
        found = f"{gateway.address}: {error.message}"
        return Finding(Level.FAIL, "gateway", found, "read its log")
    return _ready_gateway(gateway)


def _ready_gateway(gateway: Connection) -> Finding:
    found = f"{gateway.address} is ready"
    if gateway.tls is None:
        return Finding(Level.OK, "gateway", found)
    ends = probe_tls(*split_address(gateway.address), gateway.tls.context()).said
    if not ends:
        return Finding(Level.OK, "gateway", f"{found}, over TLS")
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY_S
    found = f"{found}, over TLS; its certificate ends in {days:.0f} days"
    if days < _CERTIFICATE_DAYS_MIN:
        return Finding(Level.WARN, "gateway", found, "renew it: the files are read again by itself")
    return Finding(Level.OK, "gateway", found)


def _unready_gateway(gateway: Connection) -> Finding:
    host, port = split_address(gateway.address)
    if not probe_port(host, port).ok:
        found = f"nothing listens on {gateway.address}"
        return Finding(Level.FAIL, "gateway", found, "start one: arno up")
    if gateway.tls is None and probe_tls(host, port, _trusting_context()).ok:
        found = f"{gateway.address} speaks TLS, and was asked in plain text"
        return Finding(Level.FAIL, "gateway", found, "--tls-ca FILE, or --tls")
    if gateway.tls is not None:
        handshake = probe_tls(host, port, gateway.tls.context())
        if not handshake.ok:
            found = f"{gateway.address} refuses the TLS handshake: {handshake.said}"
            return Finding(
                Level.FAIL, "gateway", found, "correct --tls-ca, --tls-cert and --tls-key"
            )
    found = f"{gateway.address} listens, but is not ready or is no gateway"
    return Finding(Level.FAIL, "gateway", found, "read its log, or GET /readyz on its metrics port")


def _trusting_context() -> ssl.SSLContext:
    # Only to find out whether TLS is spoken at all; nothing is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def split_address(address: str, port: int = 50051) -> tuple[str, int]:
    """Return host and port, or the host with the given port where none is named."""
    host, _, written = address.rpartition(":")
    if not host:
        return address, port
    return host.strip("[]"), int(written) if written.isdecimal() else port


def _said(command: list[str]) -> str:
    """Return what a quick command prints; nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else (done.stdout or done.stderr).strip()
