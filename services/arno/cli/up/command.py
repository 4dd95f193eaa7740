"""`arno up`: run everything on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import click
from rich.markup import escape

from arno.cli.checks import missing_modules
from arno.cli.parameter_types import FiniteRange
from arno.cli.probes import probe_port
from arno.cli.terminal import SafeConsole
from arno.cli.up.child import Child
from arno.cli.up.machine import (
    Machine,
    MachineOptions,
    check_settings,
    make_bus_admin,
    plan_machine,
    require_model,
    require_parts,
)
from arno.cli.up.supervisor import Announcements, Supervisor
from arno.client import DEFAULT_ADDRESS
from arno.errors import ConfigurationError, MissingExtraError
from arno.ops.help_sections import SectionedCommand

STATE_FILE: Final = "up.json"
_LOOPBACK: Final = "127.0.0.1"
_WEB_PORT: Final = 8080
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command("up", cls=SectionedCommand)
@click.option(
    "--model",
    default="tiny",
    envvar="ARNO_MODEL",
    show_default=True,
    metavar="NAME",
    help="tiny (bundled), a checkpoint's folder, a hub id in the local cache, or null.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=50051,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".arno"),
    show_default=True,
    help="Folder of jobs, results and logs; jobs in it survive a restart.",
)
@click.option(
    "--bus",
    type=click.Choice(["redis", "kafka"]),
    default="redis",
    show_default=True,
    help="redis needs nothing else; kafka needs a running broker (--kafka-bootstrap).",
)
@click.option(
    "--kafka-bootstrap",
    default="",
    metavar="HOST:PORT",
    help="Address of the broker, for --bus kafka.",
)
@click.option(
    "--start-timeout",
    "start_timeout_s",
    type=FiniteRange(min=1),
    default=300.0,
    show_default=True,
    metavar="S",
    help="How long the model may take to load, in seconds.",
)
@click.option(
    "--grace",
    "grace_s",
    type=FiniteRange(min=0),
    default=30.0,
    show_default=True,
    metavar="S",
    help="How long each process may take to stop, in seconds.",
)
@click.option(
    "--web/--no-web",
    default=None,
    help="Serve the page and HTTP/JSON, too.  [default: where the extra `web` is installed]",
)
@click.option(
    "--web-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=None,
    help="Port of the page, on loopback; 0 takes a free one.  [default: 8080, or a free one]",
)
def verb(
    model: str,
    host: str,
    port: int,
    folder: Path,
    bus: str,
    kafka_bootstrap: str,
    start_timeout_s: float,
    grace_s: float,
    web: bool | None,
    web_port: int | None,
) -> None:
    """Run a store, a gateway, a worker and a web page, and keep them running until Ctrl-C.

    A process that dies is restarted; accepted jobs survive that. Further settings come from
    ARNO_* variables, such as ARNO_DEVICE=cuda. A second Ctrl-C stops without waiting.

    \b
    Examples:
      arno up
      arno up --model ./Florence-2-base-ft --port 0
      arno up --bus kafka --kafka-bootstrap 127.0.0.1:9092
    """
    chosen = _web_port(web, web_port)
    options = MachineOptions(folder, host, port, model, bus, kafka_bootstrap, chosen)
    with _only_one(folder):
        _Up(options, start_timeout_s=start_timeout_s, grace_s=grace_s).run()


class _Up:
    def __init__(self, options: MachineOptions, *, start_timeout_s: float, grace_s: float) -> None:
        self._options = options
        self._start_timeout_s = start_timeout_s
        self._grace_s = grace_s
        self._console = SafeConsole(stderr=True, highlight=False)
        self._supervisor = Supervisor(Announcements(self._on_ready, self._on_died, self._on_warned))
        self._signal_count = 0
        self._ready_text = ""

    def run(self) -> None:
        # The children would find out too, but only one by one and in their logs.
        require_parts()
        machine = plan_machine(self._options)
        check_settings(self._options, machine)
        require_model(self._options, machine)
        _require_free("--port", self._options.host, self._options.port)
        _require_free("--web-port", _LOOPBACK, self._options.web_port or 0)
        machine.write_files()
        logs = self._options.folder / "logs"
        logs.mkdir(exist_ok=True)
        logs.chmod(0o700)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        try:
            self._start(machine, logs)
            if not self._supervisor.stopping:
                self._print_ready(machine)
                self._supervisor.watch()
        finally:
            self._stop()

    def _start(self, machine: Machine, logs: Path) -> None:
        store, gateway, worker = (
            Child(spec, logs) for spec in (machine.store, machine.gateway, machine.worker)
        )
        began_s = time.monotonic()
        with self._console.status("starting the store"):
            self._supervisor.start([store], timeout_s=60)
        if self._supervisor.stopping:
            return
        with contextlib.closing(make_bus_admin(self._options, machine)) as admin:
            admin.ensure_topics()
        with self._console.status(f"starting the gateway, loading {escape(self._options.model)}"):
            # In this order, so that the gateway, which needs the worker's answers, stops first.
            self._supervisor.start([worker, gateway], timeout_s=self._start_timeout_s)
        if machine.web is not None and not self._supervisor.stopping:
            with self._console.status("starting the web page"):
                self._supervisor.start([Child(machine.web, logs)], timeout_s=60)
        self._ready_text = f"ready in {time.monotonic() - began_s:.1f} s"

    def _print_ready(self, machine: Machine) -> None:
        folder = escape(str(self._options.folder))
        print_line = self._console.print
        print_line(f"[bold green]Arno is {self._ready_text}[/] and listens on {machine.address}")
        flag = "" if machine.address == DEFAULT_ADDRESS else f" --address {machine.address}"
        print_line(f"  try      arno infer photo.jpg --task OD{flag}")
        if machine.web is not None:
            print_line(f"  look     {machine.web.address}")
        for name, url in machine.metrics.items():
            print_line(f"  metrics  {url}/metrics ({name})")
        print_line(f"  data     {folder} (logs in {folder}/logs)")
        print_line("[dim]Ctrl-C stops everything.[/]")
        self._write_state(machine)

    def _write_state(self, machine: Machine) -> None:
        state = {
            "address": machine.address,
            "redis_url": machine.redis_url,
            "redis_password_file": str(machine.redis_files.password.absolute()),
            "metrics": machine.metrics,
            "web": None if machine.web is None else machine.web.address,
            "pid": os.getpid(),
        }
        path = self._options.folder / STATE_FILE
        arriving = path.with_suffix(".new")
        arriving.write_text(json.dumps(state))
        arriving.replace(path)

    def _stop(self) -> None:
        (self._options.folder / STATE_FILE).unlink(missing_ok=True)
        with self._console.status("stopping"):
            killed = self._supervisor.stop(
                grace_s=self._grace_s, hurry=lambda: self._signal_count > 1
            )
        if killed:
            self._console.print(f"[yellow]killed, as not stopped in time: {', '.join(killed)}[/]")
        self._console.print("stopped")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal_count += 1
        self._supervisor.request_stop()

    def _on_ready(self, child: Child) -> None:
        name, where = child.spec.name, child.spec.address
        self._console.print(f"[green]✓[/] {name:<8} {where} [dim]pid {child.pid}[/]")

    def _on_died(self, child: Child, pause_s: float) -> None:
        self._console.print(
            f"[yellow]! {child.spec.name} ended (exit code {child.exit_code}); "
            f"starting it again in {pause_s:.1f} s; see {escape(str(child.log))}[/]",
            soft_wrap=True,
        )

    def _on_warned(self, child: Child, warning: str) -> None:
        self._console.print(f"[yellow]{child.spec.name}:[/] {escape(warning)}", soft_wrap=True)


def _web_port(asked: bool | None, port: int | None) -> int | None:
    """Return the port of the web process; None leaves it out.

    Raises:
        MissingExtraError: It was asked for and is not installed.
    """
    missing = missing_modules("web")
    if asked and missing:
        sentence = f"`arno up --web` needs {', '.join(missing)}: pip install 'arno[web]'"
        raise MissingExtraError(sentence, extra="web")
    if asked is False or missing:
        return None
    if port is not None:
        return port
    return 0 if probe_port(_LOOPBACK, _WEB_PORT).ok else _WEB_PORT


def _require_free(flag: str, host: str, port: int) -> None:
    if port and probe_port(host, port).ok:
        raise ConfigurationError(
            f"{flag} {port}: something listens there already; {flag} 0 takes a free one"
        )


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two stores that write one file would ruin it."""
    # Images, results and logs are for this user alone, in files of the children too.
    os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(f"--data {folder}: {error.strerror or error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sentence = f"--data {folder}: another `arno up` uses it; stop that, or name another"
            raise ConfigurationError(sentence) from None
        yield
