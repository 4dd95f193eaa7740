"""`arno batch`: ask about many images, and keep the answers in a folder."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from arno.bulk import (
    Answerer,
    AnswerFolder,
    GatewayAnswerer,
    LocalAnswerer,
    Manifest,
    Source,
    open_source,
    run_batch,
)
from arno.bulk.folder import FAILURES_FILE
from arno.bulk.gateway_answerer import GatewayOptions
from arno.bulk.item import IMAGE_BYTES_MAX, bounded
from arno.bulk.manifest import question_of
from arno.bulk.shards import shard_format
from arno.cli.asking import TaskFlags, address_options, many_images_options, task_options
from arno.cli.batch_progress import BatchProgress
from arno.cli.connecting import Connection
from arno.cli.main import EXIT_FAILURE, EXIT_INTERRUPTED
from arno.cli.parameter_types import FiniteRange
from arno.cli.terminal import SafeConsole
from arno.client import TaskRequest
from arno.errors import InvalidFieldError
from arno.ops.help_sections import SectionedCommand

_KEPT: Final = "what was answered is kept, and the same command resumes the run"


@click.command("batch", cls=SectionedCommand)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE..")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FOLDER",
    help="Folder of the answers; an unfinished run in it is resumed.",
)
@task_options
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Format of the shards; parquet needs the extra `parquet`.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    metavar="N",
    help="Answers in one shard.",
)
@click.option(
    "--image-bytes-max",
    type=click.IntRange(1),
    default=IMAGE_BYTES_MAX,
    show_default=True,
    metavar="N",
    help="Largest image file; larger ones fail and are not read. The gateway has a limit of its "
    "own.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N images.")
@click.option("--retry-failed", is_flag=True, help="Ask again about everything without an answer.")
@click.option(
    "--patience",
    "patience_s",
    type=FiniteRange(min=0),
    default=600.0,
    show_default=True,
    metavar="S",
    help="How long the gateway may be away or full, in seconds.",
)
@many_images_options
@address_options
def verb(
    sources: tuple[str, ...],
    out: Path,
    format_name: str,
    shard_size: int,
    in_flight: int,
    image_bytes_max: int,
    fps: float | None,
    limit: int | None,
    model: str | None,
    retry_failed: bool,
    failures_max: int | None,
    patience_s: float,
    gateway: Connection,
    timeout_s: float,
    **flags: Any,
) -> int:
    """Run tasks on every image of SOURCE, on the batch lane; keep the answers in a folder.

    SOURCE is a folder, a glob in quotes, pictures, a list of names (.txt), lines of JSON (.jsonl),
    WebDataset shards (.tar) or a video. Each image is answered once, however often the command is
    stopped and repeated. Failures are in failures.jsonl, and the exit code is then 1.

    \b
    Examples:
      arno batch photos/ --task OD --task CAPTION --out seen
      arno batch "shards/train-{000..011}.tar" --task OCR --out texts --format parquet
      arno batch street.mp4 --fps 2 --task OD --out street
      arno batch photos/ --task OD --out seen --model tiny
    """
    tasks = TaskFlags(**flags).requests()
    source = open_source(*sources, fps=fps)
    console = SafeConsole(stderr=True, highlight=False)
    form = shard_format(format_name)
    total = _total(console, source, limit)
    manifest = Manifest.new(source.name, question_of(tasks), format_name)
    with (
        AnswerFolder(out, manifest, form, shard_size=shard_size) as kept,
        BatchProgress(console, total) as progress,
        _ended_by_signal(),
    ):
        kept.reopen_failures(everything=retry_failed)
        options = GatewayOptions(in_flight_max=in_flight, patience_s=patience_s)
        run_id = kept.manifest.id
        with _answerer(gateway, timeout_s, tasks, run_id, options, model) as answerer:
            try:
                run_batch(
                    itertools.islice(bounded(source, image_bytes_max), limit),
                    answerer,
                    kept,
                    failures_max=failures_max,
                    on_progress=progress.show,
                )
            except KeyboardInterrupt:
                progress.conclude(f"interrupted; {_KEPT}")
                return EXIT_INTERRUPTED
            except BaseException:
                progress.conclude(f"stopped; {_KEPT}")
                raise
        failed_count = kept.failed_count
        failures = f"; failures: {out / FAILURES_FILE} ({failed_count:,})" if failed_count else ""
        progress.conclude(f"answers: {out}{failures}")
    return EXIT_FAILURE if failed_count else 0


@contextlib.contextmanager
def _answerer(
    gateway: Connection,
    timeout_s: float,
    tasks: Sequence[TaskRequest],
    run_id: str,
    options: GatewayOptions,
    model: str | None,
) -> Iterator[Answerer]:
    if model is None:
        with gateway.client(timeout_s=timeout_s) as client:
            yield GatewayAnswerer(client, tasks, run_id=run_id, options=options)
        return
    from arno.engine.in_process.florence import load

    with load(model) as florence:
        yield LocalAnswerer(florence, tasks)


def _total(console: SafeConsole, source: Source, limit: int | None) -> int | None:
    with console.status("counting"):
        count = source.count()
    if count == 0:
        raise InvalidFieldError(field="SOURCE", problem="holds no pictures", sent=source.name)
    return count if count is None or limit is None else min(count, limit)


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
