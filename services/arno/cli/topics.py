"""`arno topics`: create or list the bus's topics."""

from __future__ import annotations

import contextlib
import json

import click
from rich.table import Table

from arno.bus import make_admin
from arno.bus.ports import DEAD_LETTERS, topic_name
from arno.bus.settings import BusSettings
from arno.cli.main import EXIT_FAILURE
from arno.cli.servers import KNOWN_SETTINGS
from arno.cli.terminal import SafeConsole, echo
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedGroup
from arno.vocabulary import Lane


@click.group("topics", cls=SectionedGroup)
def verb() -> None:
    """Create or list the topics (Kafka) or streams (Redis) that jobs travel on.

    \b
    Example:
      arno topics create --kafka-bootstrap 127.0.0.1:9092 --partitions 12
      arno topics list --bus redis --redis-url redis://127.0.0.1:6379/0
    """


@verb.command("create")
@settings_options(BusSettings, process="topics", known_elsewhere=KNOWN_SETTINGS)
def create(settings: BusSettings) -> None:
    """Create the topics that are missing; those that exist are left as they are.

    \b
    Example:
      arno topics create --kafka-bootstrap 127.0.0.1:9092 --replication 3
    """
    with contextlib.closing(make_admin(settings)) as admin:
        created = admin.ensure_topics()
        faults = admin.retention_faults()
    for name in created:
        echo(f"created {name}")
    if not created:
        echo("all topics exist")
    for fault in faults:
        echo(f"warning: {fault}", err=True)


@verb.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options(BusSettings, process="topics", known_elsewhere=KNOWN_SETTINGS)
def show(settings: BusSettings, as_json: bool) -> int:
    """List the topics and their partitions; exit 1 where one is missing.

    \b
    Example:
      arno topics list --kafka-bootstrap 127.0.0.1:9092
    """
    with contextlib.closing(make_admin(settings)) as admin:
        found = admin.describe()
    wanted = [*(lane.value for lane in Lane), DEAD_LETTERS]
    counts = {topic_name(settings.topic_prefix, name): found.get(name, 0) for name in wanted}
    if as_json:
        echo(json.dumps(counts))
    else:
        table = Table("topic", "partitions")
        for name, count in counts.items():
            table.add_row(name, str(count) if count else "[red]missing[/]")
        SafeConsole(highlight=False).print(table)
    return 0 if all(counts.values()) else EXIT_FAILURE
