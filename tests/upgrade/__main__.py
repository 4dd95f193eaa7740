"""`python -m upgrade`: two releases on one bus and one store, in every order of an upgrade.

Calls go in turns to gateways of both releases while workers of the one, the other and both run.
Then durable jobs that a gateway has accepted run at a worker and are read at the other gateway,
for each order of releases.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arno
import click
import grpc
from arno.api.v1 import job_pb2, job_pb2_grpc, types_pb2
from arno.bus import BusSettings
from arno.ops.ports import free_port
from chaos.parts import ProcessPart
from chaos.schedule import Part
from observe.ledger import Load
from support import images
from support.builders import wire_task, with_topics
from support.eventually import eventually_async
from support.kafka_broker import WAYS_TO_GET_IT, KafkaBroker, kafka_available
from support.redis_server import RedisServer, redis_executables
from upgrade.releases import (
    BEFORE_THE_FIRST_TAG,
    Release,
    built,
    described,
    newest_tag,
    this_tree,
)

_PICTURE = Path(__file__).parents[2] / "examples/images/wide.jpg"
_CALLS_S = 5.0
_STARTS_S = 120.0
_PARTITIONS = 4
# Above what travels in the record itself.
_STORED_IMAGE_BYTES = 1_000_000
_KINDS = ("kafka", "redis")

_PAGE = """\
# Two releases together

Written by `make upgrade-test`: real gateways and workers (their engine has no model) of the wheel
of {old} ({why}) and of this tree (version {version}) share one
bus and one result store, on Kafka and on Redis Streams. {day}, {cpu_count} CPUs.

Calls went in turns to a gateway of each release, a twentieth of them wrong on purpose:

| workers | on Kafka | on Redis Streams |
| --- | --- | --- |
{calls}

The command line of the old release, beside workers of both:

| client | gateway | on Kafka | on Redis Streams |
| --- | --- | --- | --- |
{clients}

Durable jobs were accepted while no worker ran, one with an image inside its record and one with an
image in the store. The same idempotency key at the other gateway found the same job, a worker ran
it, and the other gateway read the answer:

| accepted by | run by | read by | on Kafka | on Redis Streams |
| --- | --- | --- | --- | --- |
{jobs}
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one combination.

    Attributes:
        row: The cells before the result.
        said: The result in words.
        good: Whether it is as it must be.
    """

    row: tuple[str, ...]
    said: str
    good: bool


@dataclass(frozen=True, slots=True)
class Bus:
    """Where all processes meet, and where their logs land."""

    settings: BusSettings
    folder: Path

    def start(self, stack: ExitStack, part: Part, release: Release, *flags: str) -> ProcessPart:
        """Start a gateway or a worker, which is stopped with the stack."""
        given = self.settings.model_dump(exclude_unset=True)
        variables = {f"ARNO_{name.upper()}": str(value) for name, value in given.items()}
        variables["ARNO_REDIS_KEY_PREFIX"] = self.settings.topic_prefix
        process = ProcessPart(
            part,
            [sys.executable, "-m", "arno.cli", part.value, *flags],
            log=self.folder / f"{part.value}-{release.name}-{uuid.uuid4().hex[:6]}.log",
            environment={**release.environment(), **variables},
        )
        process.launch()
        stack.callback(process.stop)
        return process

    @contextmanager
    def workers(self, releases: Sequence[Release]) -> Iterator[list[ProcessPart]]:
        """Run a worker of each release in the block."""
        with ExitStack() as stack:
            yield [
                self.start(stack, Part.WORKER, one, "--model", "null", "--metrics-port", "0")
                for one in releases
            ]


async def _ready(parts: Sequence[ProcessPart]) -> None:
    async def all_ready() -> bool:
        ended = [part.log for part in parts if not part.running]
        assert not ended, f"ended at its start: {[log.read_text()[-2000:] for log in ended]}"
        return all(part.ready for part in parts)

    await eventually_async(all_ready, timeout_s=_STARTS_S)


async def exercise(bus: Bus, old: Release, new: Release) -> AsyncIterator[Finding]:
    """Yield what comes of each combination on one bus."""
    with ExitStack() as stack:
        addresses, gateways = {}, []
        for release in (old, new):
            port = free_port()
            addresses[release.name] = f"127.0.0.1:{port}"
            flags = ("--listen", addresses[release.name], "--metrics-port", "0")
            gateways.append(bus.start(stack, Part.GATEWAY, release, *flags))
        await _ready(gateways)
        for releases in ((old,), (new,), (old, new)):
            with bus.workers(releases) as workers:
                await _ready(workers)
                yield await _calls(releases, list(addresses.values()))
                if releases == (old, new):
                    async for found in _old_client(addresses, old):
                        yield found
        for first, worker in itertools.product((old, new), repeat=2):
            then = new if first is old else old
            row = (first.name, worker.name, then.name)
            said = await _handed_over(bus, addresses, (first, worker, then))
            yield Finding(row, said or "yes", not said)


async def _calls(workers: Sequence[Release], addresses: Sequence[str]) -> Finding:
    async with Load(addresses, rate_per_s=20.0, timeout_s=30.0) as load:
        await asyncio.sleep(_CALLS_S)
        await load.end()
    codes = load.ledger.codes
    said = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
    good = codes["OK"] == load.ledger.tasks.total() and set(codes) <= {"OK", "INVALID_ARGUMENT"}
    return Finding((" and ".join(one.name for one in workers),), said, good and codes["OK"] > 0)


async def _handed_over(
    bus: Bus, addresses: dict[str, str], order: tuple[Release, Release, Release]
) -> str:
    """Return what is wrong with jobs that one gateway accepts and the other one reads."""
    first, worker, then = order
    # Not by the SDK, whose routing an older gateway may not know: clients come after gateways.
    async with (
        grpc.aio.insecure_channel(addresses[first.name]) as one,
        grpc.aio.insecure_channel(addresses[then.name]) as other,
    ):
        accepts, reads = (job_pb2_grpc.JobServiceStub(channel) for channel in (one, other))
        accepted = []
        for picture in (images.png(), images.noise_png(_STORED_IMAGE_BYTES)):
            request = job_pb2.SubmitJobRequest(
                image=types_pb2.Image(content=picture),
                tasks=[wire_task("OD", id="0")],
                idempotency_key=uuid.uuid4().hex,
            )
            job, again = [(await stub.SubmitJob(request)).job for stub in (accepts, reads)]
            if again.id != job.id:
                return "the idempotency key of one gateway is not known to the other"
            accepted.append(job.id)
        with bus.workers([worker]) as workers:
            await _ready(workers)
            ended = [await _end_of(reads, job_id) for job_id in accepted]
    states = {job_pb2.JobState.Name(job.state) for job in ended}
    answered = all(job.response.results[0].HasField("answer") for job in ended)
    return "" if answered else f"the jobs ended as {states}"


async def _end_of(jobs: Any, job_id: str) -> job_pb2.Job:
    last = job_pb2.Job()
    async for response in jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job_id), timeout=60):
        last = response.job
    return last


async def _old_client(addresses: dict[str, str], old: Release) -> AsyncIterator[Finding]:
    """Yield whether the old command line is answered by either gateway."""
    for name, address in addresses.items():
        command = [sys.executable, "-m", "arno.cli", "infer", str(_PICTURE)]
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--task", "OD", "--address", address, "--json"),
            env=dict(old.environment()),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await process.communicate()
        good = process.returncode == 0 and b"null" in said
        yield Finding((old.name, name), "yes" if good else complained.decode(), good)


@click.command()
@click.option("--from", "ref", default="", help="The other release; default: the newest tag.")
@click.option(
    "--page", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here."
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep logs in this folder."
)
def main(ref: str, page: Path | None, keep: Path | None) -> None:
    """Run two releases together on Kafka and on Redis Streams; fail where they do not agree."""
    if not kafka_available():
        raise click.ClickException(WAYS_TO_GET_IT)
    tag = newest_tag()
    why = "named by hand" if ref else "the last release" if tag else "there is no release yet"
    ref = ref or tag or BEFORE_THE_FIRST_TAG
    old_name = described(ref)
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(_on_all_buses(folder, built(ref, folder / "old")))
    wrong = [one for findings in found.values() for one in findings if not one.good]
    click.echo(f"{old_name} and this tree work together: {'no' if wrong else 'yes'}")
    if wrong:
        sys.exit(1)
    if page is not None:
        rows = [
            "| " + " | ".join((*one.row, one.said, other.said)) + " |"
            for one, other in zip(*found.values(), strict=True)
        ]
        page.write_text(
            _PAGE.format(
                old=old_name,
                why=why,
                version=arno.__version__,
                day=datetime.datetime.now(datetime.UTC).date(),
                cpu_count=os.cpu_count(),
                calls="\n".join(rows[:3]),
                clients="\n".join(rows[3:5]),
                jobs="\n".join(rows[5:]),
            )
        )


async def _on_all_buses(folder: Path, old: Release) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    with ExitStack() as stack:
        redis = RedisServer(folder / "redis", next(iter(redis_executables().values())))
        broker = KafkaBroker(folder / "broker")
        for server in (redis, broker):
            server.start()
            stack.callback(server.stop)
        for kind in _KINDS:
            settings = BusSettings(
                bus=kind,
                kafka_bootstrap=broker.bootstrap,
                redis_url=redis.url,
                partitions=_PARTITIONS,
                replication=1,
                topic_prefix=f"upgrade-{kind}",
                group=f"upgrade-{kind}",
            )
            bus, found[kind] = Bus(with_topics(settings), folder), []
            async for one in exercise(bus, old, this_tree()):
                click.echo(f"{kind:6} {', '.join(one.row):16} {one.said}")
                found[kind].append(one)
    return found


if __name__ == "__main__":
    main()
