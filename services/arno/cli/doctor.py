"""`arno doctor`: say what is installed, reachable and wrong."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import click
from rich.table import Table
from rich.text import Text

from arno.bus import BusSettings
from arno.cli import checks
from arno.cli.checks import Finding, Level
from arno.cli.connecting import Connection, connection_options
from arno.cli.main import EXIT_FAILURE
from arno.cli.servers import KNOWN_SETTINGS
from arno.cli.terminal import SafeConsole, echo
from arno.cli.up import STATE_FILE
from arno.client import DEFAULT_ADDRESS
from arno.ops.config import ENVIRONMENT_PREFIX, Settings, variable_name
from arno.ops.help_sections import SectionedCommand
from arno.ops.redis_access import RedisAccessSettings

SettingsT = TypeVar("SettingsT", bound=Settings)

_FOLDER: Final = Path(".arno")
_COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


@click.command("doctor", cls=SectionedCommand)
@connection_options(default=None)
@click.option("--redis-url", envvar="ARNO_REDIS_URL", metavar="URL", help="Check this Redis.")
@click.option(
    "--kafka-bootstrap",
    envvar="ARNO_KAFKA_BOOTSTRAP",
    metavar="HOST:PORT",
    help="Check this Kafka.",
)
@click.option(
    "--model",
    default="tiny",
    envvar="ARNO_MODEL",
    show_default=True,
    metavar="NAME",
    help="Check this model.",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder of `arno up`; a server that runs there is checked, too.  [default: .arno]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON a finding.")
def verb(
    gateway: Connection,
    redis_url: str | None,
    kafka_bootstrap: str | None,
    model: str,
    folder: Path | None,
    as_json: bool,
) -> int:
    """Check everything that Arno needs, and print what to do about each problem.

    Servers are checked only if they are named, or if `arno up` runs here; Kafka and Redis as
    the user that ARNO_KAFKA_* and ARNO_REDIS_* name, as in a pod. Exit code 1 where anything is a
    FAIL.

    \b
    Examples:
      arno doctor
      arno doctor --address gateway:50051 --redis-url redis://redis:6379/0 --json
    """
    running = _running(folder or _FOLDER)
    if not gateway.address:
        gateway = dataclasses.replace(gateway, address=running.get("address", ""))
    redis_url = redis_url or running.get("redis_url")
    findings = [
        *_installed(model, folder),
        *_reachable(gateway, redis_url, kafka_bootstrap),
    ]
    if as_json:
        for finding in findings:
            echo(json.dumps(dataclasses.asdict(finding)))
    else:
        _print(findings)
    return EXIT_FAILURE if any(finding.level is Level.FAIL for finding in findings) else 0


def _installed(model: str, folder: Path | None) -> Iterator[Finding]:
    yield checks.check_python()
    yield from checks.check_extras()
    yield checks.check_redis_server()
    yield checks.check_java()
    yield checks.check_device()
    yield checks.check_model(model)
    yield checks.check_disk(folder or _FOLDER, named=folder is not None)
    yield from _variables()


def _reachable(
    gateway: Connection, redis_url: str | None, kafka_bootstrap: str | None
) -> Iterator[Finding]:
    if gateway.address:
        yield checks.check_gateway(gateway)
    else:
        yield checks.check_port(int(DEFAULT_ADDRESS.rsplit(":", 1)[1]))
    if redis_url:
        named = {"redis_url": redis_url}
        yield (found := checks.check_redis(access := _settings(RedisAccessSettings, named)))
        # Where no user is named, as beside `arno up`, nothing is tried.
        if found.level is Level.OK and (access.redis_password or access.redis_password_file):
            yield checks.check_login(_settings(BusSettings, {**named, "bus": "redis"}))
    if kafka_bootstrap:
        brokers = list(checks.check_kafka(kafka_bootstrap))
        yield from brokers
        if any(broker.level is Level.OK for broker in brokers):
            settings = _settings(BusSettings, {"kafka_bootstrap": kafka_bootstrap, "bus": "kafka"})
            yield (found := checks.check_login(settings))
            if found.level is Level.OK:
                yield from checks.check_retention(settings)


def _settings(kind: type[SettingsT], named: dict[str, str]) -> SettingsT:
    """Return how the servers of this environment would reach what was named."""
    given = {
        name: os.environ[variable_name(name)]
        for name in kind.model_fields
        if variable_name(name) in os.environ
    }
    return kind.model_validate({**given, **named})


def _variables() -> Iterator[Finding]:
    for variable in sorted(os.environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == "ARNO_CONFIG":
            continue
        if variable.removeprefix(ENVIRONMENT_PREFIX).lower() in KNOWN_SETTINGS:
            yield Finding(Level.OK, "environment", f"{variable} is set")
        else:
            advice = "no setting has this name, and servers refuse to start: unset it"
            yield Finding(Level.FAIL, "environment", f"{variable} is unknown", advice)


def _running(folder: Path) -> dict[str, str]:
    try:
        state: dict[str, str] = json.loads((folder / STATE_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return state


def _print(findings: list[Finding]) -> None:
    console = SafeConsole(highlight=False)
    console.print(_table(findings))
    fails = sum(finding.level is Level.FAIL for finding in findings)
    console.print(
        "[green]no problems found[/]"
        if not fails
        else f"[red]{fails} problem{'s' * (fails != 1)} found[/]"
    )


def _table(findings: list[Finding]) -> Table:
    table = Table("", "what")
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for finding in findings:
        level = Text(finding.level, style=_COLOURS[finding.level])
        # As text: markup would swallow the brackets of arno[worker].
        table.add_row(level, *map(Text, (finding.subject, finding.found, finding.advice)))
    return table
