"""`arno dead`: list, show, replay and purge the jobs that were given up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import click
from google.protobuf.json_format import MessageToDict
from rich.table import Table

from arno.bus import BusSettings, make_dead_letter_queue, make_publisher
from arno.bus.dead_letters import (
    DeadLetter,
    ReplayTerms,
    image_of,
    newest_per_job,
    read_dead_letters,
    replay,
)
from arno.cli.main import EXIT_FAILURE
from arno.cli.parameter_types import FiniteRange
from arno.cli.servers import KNOWN_SETTINGS
from arno.cli.terminal import SafeConsole, echo
from arno.errors import InvalidFieldError
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedGroup
from arno.results.gateway_store import GatewayStore
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore

_DAY_S: Final = 86_400


class DeadLetterSettings(BusSettings, ResultSettings):
    """Where the bus is, and the result store in which a replayed job is claimed."""


_with_settings = settings_options(
    DeadLetterSettings, process="dead", known_elsewhere=KNOWN_SETTINGS
)


@click.group("dead", cls=SectionedGroup)
def verb() -> None:
    """Handle jobs that were given up: poison, and records that no worker can read.

    A letter is named by what `list` prints, or by the id of its job.

    \b
    Example:
      arno dead list --kafka-bootstrap 127.0.0.1:9092
      arno dead show 3-17 --image poison.jpg
      arno dead replay 3-17
      arno dead purge --older-than 7
    """


@verb.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line a letter.")
@_with_settings
def show_all(settings: DeadLetterSettings, as_json: bool) -> None:
    """List the letters: which job, why and when it was given up, and how often it was begun.

    A job may have several letters after an outage of the bus: it is listed once, by its newest;
    JSON names the others as copies.

    \b
    Example:
      arno dead list --bus redis --redis-url redis://127.0.0.1:6379/0
    """
    letters = _letters(settings)
    if as_json:
        for letter in letters:
            echo(json.dumps(letter.facts()))
    elif letters:
        SafeConsole(highlight=False).print(_table(letters))
    else:
        echo("no dead letters")


@verb.command("show")
@click.argument("letter")
@click.option(
    "--image",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the image to this file. Caution: it may have killed a worker.",
)
@_with_settings
def show(settings: DeadLetterSettings, letter: str, image: Path | None) -> None:
    """Print one letter as JSON, without its bytes.

    \b
    Example:
      arno dead show 3-17 --image poison.jpg
    """
    (found,) = _find(settings, [letter])
    slim = type(found.dead)()
    slim.CopyFrom(found.dead)
    slim.job.ClearField("inline_image")
    slim.ClearField("unreadable_value")
    body = MessageToDict(slim, preserving_proto_field_name=True)
    echo(json.dumps({**found.facts(), "letter": body}, indent=2))
    if image is not None:
        with contextlib.closing(WorkerStore(settings)) as store:
            content = image_of(found, store.get_blob)
        if content is None:
            raise InvalidFieldError(
                field="image", problem="neither the letter nor the store holds it", sent=letter
            )
        image.write_bytes(content)


@verb.command("replay")
@click.argument("letters", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Replay every letter.")
@click.option(
    "--time-to-live",
    "time_to_live_s",
    type=click.IntRange(min=1),
    default=_DAY_S,
    show_default=True,
    metavar="S",
    help="How long each job may take from now, in seconds.",
)
@click.option("--again", is_flag=True, help="Also run jobs that were replayed before.")
@_with_settings
def run_again(
    settings: DeadLetterSettings,
    letters: tuple[str, ...],
    everything: bool,
    time_to_live_s: int,
    again: bool,
) -> int:
    """Put jobs on their lanes again, each under a new id, which is printed at once.

    The old job keeps its end. A command that failed can be repeated: what was replayed before is
    named and not run twice, for as long as the result store knows the new job. A record that could
    not be read is put back unchanged, for workers that can read it now. Letters stay until they are
    purged.

    \b
    Example:
      arno dead replay 3-17
    """
    if everything == bool(letters):
        raise click.UsageError("name letters, or say --all")
    found = _letters(settings) if everything else _find(settings, letters)
    image_s = time_to_live_s + settings.blob_time_to_live_s
    terms = ReplayTerms(time_to_live_s, image_s, again=again)
    return 0 if asyncio.run(_replay(settings, found, terms)) else EXIT_FAILURE


@verb.command("purge")
@click.option(
    "--older-than",
    "older_than_days",
    type=FiniteRange(min=0),
    default=0.0,
    show_default=True,
    metavar="DAYS",
    help="Keep letters from within this many days.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_with_settings
def purge(settings: DeadLetterSettings, older_than_days: float, yes: bool) -> None:
    """Remove letters for good.

    \b
    Example:
      arno dead purge --older-than 7 --yes
    """
    if not yes:
        click.confirm("Remove dead letters for good?", abort=True)
    before_ms = int((time.time() - older_than_days * _DAY_S) * 1000)
    with contextlib.closing(make_dead_letter_queue(settings)) as queue:
        # Letters of this very millisecond are removed as well.
        count = queue.purge(before_ms if older_than_days else before_ms + 1)
    echo(f"removed {count} letter{'' if count == 1 else 's'}")


async def _replay(
    settings: DeadLetterSettings, letters: Sequence[DeadLetter], terms: ReplayTerms
) -> bool:
    """Replay letters, print each outcome as soon as it is known, return whether all are well."""
    publisher = make_publisher(settings)
    store = GatewayStore(settings, gateway=f"dead-{secrets.token_hex(8)}")
    well = True
    try:
        await publisher.start()
        await store.start()
        for letter in letters:
            outcome = await replay(letter, publisher, store, terms)
            echo(outcome.line)
            well = well and outcome.replayed
    finally:
        await publisher.close()
        await store.close()
    return well


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = Table("letter", "died", "reason", "attempts", "job", "lane", "bytes")
    for letter in letters:
        facts = letter.facts()
        names = ("id", "died", "reason", "attempts", "job_id", "lane", "size_bytes")
        table.add_row(*(str(facts[name]) for name in names))
    return table


def _letters(settings: DeadLetterSettings) -> list[DeadLetter]:
    with contextlib.closing(make_dead_letter_queue(settings)) as queue:
        return newest_per_job(read_dead_letters(queue))


def _find(settings: DeadLetterSettings, names: Collection[str]) -> list[DeadLetter]:
    letters = _letters(settings)
    found: list[DeadLetter] = []
    for name in names:
        letter = next((one for one in letters if one.named(name)), None)
        if letter is None:
            raise InvalidFieldError(field="LETTER", problem="there is none of this name", sent=name)
        # A job named twice, by two of its letters, runs again once.
        if letter not in found:
            found.append(letter)
    return found
