"""`python -m chaos.outage`: a thousand open calls while Kafka is away, and what they cost.

Prints the gateway's memory, how late callers were answered and with what, and how long after the
broker's return the first call was answered.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import grpc
from arno.api.v1 import types_pb2, vision_pb2, vision_pb2_grpc
from chaos.machine import Machine, MachineOptions
from chaos.workload import PICTURE
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available

MIB = 1024 * 1024
RECOVERY_S_MAX = 5.0
_CAPTION = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION)
_CHANNEL = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.max_concurrent_streams", 4096)]


@dataclass(frozen=True, slots=True)
class WaveOptions:
    """A wave.

    Attributes:
        call_count: How many calls.
        image_bytes: Size of each image.
        deadline_s: Of each call.
        gateway_pid: Whose memory is looked at.
    """

    call_count: int
    image_bytes: int
    deadline_s: float
    gateway_pid: int


@dataclass(frozen=True, slots=True)
class Wave:
    """Many calls at once.

    Attributes:
        codes: What they were answered.
        slowest_s: The longest that one took.
        resident_bytes: The gateway's memory when all had been answered.
    """

    codes: Counter[str]
    slowest_s: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Outage:
    """What an outage of the bus did.

    Attributes:
        before_bytes: The gateway's memory with Kafka there, after one wave.
        waves: Those during the outage.
        recovery_s: From the broker's port being open to the first answer.
    """

    before_bytes: int
    waves: Sequence[Wave]
    recovery_s: float


async def ask_wave(stub: vision_pb2_grpc.VisionServiceAsyncStub, options: WaveOptions) -> Wave:
    """Open all calls at once, and wait for all answers."""

    async def ask(number: int) -> tuple[str, float]:
        content = PICTURE + number.to_bytes(4, "big") * (options.image_bytes // 4)
        request = vision_pb2.InferRequest(image=types_pb2.Image(content=content), tasks=[_CAPTION])
        began_s = time.monotonic()
        try:
            await stub.Infer(request, timeout=options.deadline_s)
        except grpc.aio.AioRpcError as error:
            return error.code().name, time.monotonic() - began_s
        return "OK", time.monotonic() - began_s

    answers = await asyncio.gather(*(ask(number) for number in range(options.call_count)))
    return Wave(
        codes=Counter(code for code, _ in answers),
        slowest_s=max(took_s for _, took_s in answers),
        resident_bytes=_resident_bytes(options.gateway_pid),
    )


async def suffer(machine: Machine, *, call_count: int, image_bytes: int, wave_count: int) -> Outage:
    """Take Kafka away under open calls, ask on, and bring it back."""
    (broker,) = machine.brokers
    options = WaveOptions(call_count, image_bytes, 15.0, machine.gateways[0].pid)
    async with grpc.aio.insecure_channel(machine.addresses[0], options=_CHANNEL) as channel:
        stub = vision_pb2_grpc.VisionServiceStub(channel)
        await first_answer(stub, timeout_s=60)
        well = await ask_wave(stub, options)
        broker.kill()
        waves = [await ask_wave(stub, options) for _ in range(wave_count)]
        # Off the loop's thread it may not be started: a child is tied to the main thread.
        broker.start()
        began_s = time.monotonic()
        await first_answer(stub, timeout_s=60)
        return Outage(well.resident_bytes, waves, time.monotonic() - began_s)


async def first_answer(stub: vision_pb2_grpc.VisionServiceAsyncStub, *, timeout_s: float) -> None:
    """Ask until one call is answered."""
    request = vision_pb2.InferRequest(image=types_pb2.Image(content=PICTURE), tasks=[_CAPTION])
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                await stub.Infer(request, timeout=5, wait_for_ready=True)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)
            else:
                return


def outage_machine(folder: Path) -> Machine:
    """Return one gateway and one worker on Kafka."""
    return Machine(folder, MachineOptions(gateways=1, workers=1))


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no memory of process {pid}")


@click.command()
@click.option("--calls", default=1000, show_default=True, help="Open at once.")
@click.option("--image-bytes", default=200_000, show_default=True, help="Of each call.")
@click.option("--waves", default=5, show_default=True, help="One after the other.")
def main(calls: int, image_bytes: int, waves: int) -> None:
    """Measure an outage of Kafka under open calls."""
    if not kafka_available():
        raise click.ClickException(WAYS_TO_GET_IT)
    with tempfile.TemporaryDirectory(prefix="arno-outage-") as scratch:
        machine = outage_machine(Path(scratch))
        machine.start()
        try:
            outage = asyncio.run(
                suffer(machine, call_count=calls, image_bytes=image_bytes, wave_count=waves)
            )
        finally:
            machine.stop()
    click.echo(f"gateway with Kafka   {outage.before_bytes / MIB:.0f} MiB after one wave")
    for number, wave in enumerate(outage.waves, 1):
        memory = f"{wave.resident_bytes / MIB:.0f} MiB"
        click.echo(
            f"wave {number}, no Kafka     {memory}, slowest {wave.slowest_s:.1f} s, "
            f"{dict(wave.codes)}"
        )
    click.echo(f"first answer         {outage.recovery_s:.1f} s after the broker's return")
    late = any(wave.codes["DEADLINE_EXCEEDED"] for wave in outage.waves)
    kept = not late and outage.recovery_s <= RECOVERY_S_MAX
    click.echo(f"verdict              {'kept' if kept else 'BROKEN'}")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
