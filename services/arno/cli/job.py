"""`arno job`: submit work now and fetch the results later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from arno.cli.asking import TaskFlags, address_options, task_options
from arno.cli.connecting import Connection
from arno.cli.main import EXIT_FAILURE, show_error
from arno.cli.parameter_types import FiniteRange
from arno.cli.tables import print_result
from arno.cli.terminal import SafeConsole, echo
from arno.client import Job, JobState
from arno.client.export import to_json
from arno.errors import DeadlineExceededError
from arno.ops.help_sections import SectionedGroup


@click.group("job", cls=SectionedGroup)
def verb() -> None:
    """Submit work now and fetch the results later; a job survives the loss of any process.

    \b
    Example:
      id=$(arno job submit photo.jpg --task OD)
      arno job watch $id
    """


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one line a state.")


@verb.command("submit")
@click.argument("image", type=click.Path(path_type=Path))
@task_options
@click.option(
    "--lane",
    type=click.Choice(["interactive", "stream", "batch"]),
    default="batch",
    show_default=True,
    help="Priority class.",
)
@click.option("--key", default="", help="Idempotency key: the same key never makes a second job.")
@click.option(
    "--time-to-live",
    "time_to_live_s",
    type=FiniteRange(min=0, min_open=True),
    metavar="S",
    help="How long the job may take, in seconds.  [default: a day]",
)
@click.option(
    "--notify",
    multiple=True,
    metavar="NAME",
    help="Subscription of `arno notify` that gets an event at the end; may be repeated.",
)
@address_options
def submit(
    image: Path,
    lane: str,
    key: str,
    time_to_live_s: float | None,
    notify: tuple[str, ...],
    gateway: Connection,
    timeout_s: float,
    **flags: Any,
) -> None:
    """Submit an image; print the id of the job once it is stored.

    \b
    Example:
      arno job submit photo.jpg --task DENSE_REGION_CAPTION --key photo-1
    """
    tasks = TaskFlags(**flags).requests()
    with gateway.client(timeout_s=timeout_s) as client:
        job = client.submit(
            image,
            *tasks,
            lane=lane,
            idempotency_key=key,
            time_to_live_s=time_to_live_s,
            notify=notify,
        )
    echo(job.id)


@verb.command("get")
@click.argument("job_id")
@_json_option
@address_options
def get(job_id: str, as_json: bool, gateway: Connection, timeout_s: float) -> int:
    """Print the state of a job, and its results so far.

    \b
    Example:
      arno job get 01J9ZK3V --json
    """
    with gateway.client(timeout_s=timeout_s) as client:
        return _show(client.get(job_id), as_json=as_json)


@verb.command("watch")
@click.argument("job_id")
@_json_option
@address_options
def watch(job_id: str, as_json: bool, gateway: Connection, timeout_s: float) -> int:
    """Print every change of a job until it has ended.

    \b
    Example:
      arno job watch 01J9ZK3V --timeout 3600
    """
    last: Job | None = None
    with gateway.client() as client:
        try:
            for last in client.watch(job_id, timeout_s=timeout_s):
                if as_json:
                    echo(_line(last))
                elif not last.ended:
                    echo(_state(last))
        except DeadlineExceededError as error:
            if last is None:
                raise
            # The gateway does answer; it is the job that takes longer.
            sentence = f"{_state(last)}; it has not ended within --timeout {timeout_s:g}"
            raise DeadlineExceededError(sentence, job_id=job_id) from error
    if last is None:
        return EXIT_FAILURE
    return _code(last) if as_json else _show(last, as_json=False)


@verb.command("cancel")
@click.argument("job_id")
@address_options
def cancel(job_id: str, gateway: Connection, timeout_s: float) -> None:
    """Cancel a job. One that has ended stays as it is.

    \b
    Example:
      arno job cancel 01J9ZK3V
    """
    with gateway.client(timeout_s=timeout_s) as client:
        echo(_state(client.cancel(job_id)))


@verb.command("delete")
@click.argument("job_id")
@address_options
def delete(job_id: str, gateway: Connection, timeout_s: float) -> None:
    """Delete a job and its results; cancel it if it still runs.

    \b
    Example:
      arno job delete 01J9ZK3V
    """
    with gateway.client(timeout_s=timeout_s) as client:
        client.delete(job_id)
    echo(f"{job_id}: deleted")


def _show(job: Job, *, as_json: bool) -> int:
    if as_json:
        echo(_line(job))
        return _code(job)
    echo(_state(job))
    if job.result is not None and job.result.tasks:
        print_result(SafeConsole(highlight=False), job.id, job.result)
    if job.error is not None:
        show_error(job.error, about=job.id)
    return _code(job)


def _state(job: Job) -> str:
    tokens = f", {job.decoded_token_count} tokens" if job.decoded_token_count else ""
    attempts = f", attempt {job.attempt_count}" if job.attempt_count > 1 else ""
    return f"{job.id}: {job.state.lower()}{tokens}{attempts}"


def _line(job: Job) -> str:
    return json.dumps(to_json(job.message), ensure_ascii=False)


def _code(job: Job) -> int:
    failed = job.ended and (
        job.state is not JobState.SUCCEEDED or (job.result is not None and not job.result.ok)
    )
    return EXIT_FAILURE if failed else 0
