"""`python -m fuzz`: mutated images against the decoder, mutated calls against a real gateway."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import click
import grpc
from fuzz.calls import SLOW_S, CallFuzzer, CallReport
from fuzz.seeds import call_seeds
from fuzz.supervised import decode_supervised

from benchmarks.stack import Stack, running_stack

GROWTH_BYTES = 64 * 1024 * 1024
_INFER = "/arno.api.v1.VisionService/Infer"


@click.command()
@click.option("--images", default=20_000, show_default=True, help="Mutated images to decode.")
@click.option("--calls", default=20_000, show_default=True, help="Mutated calls to send.")
@click.option("--seed", default=0, show_default=True, help="Number of the first mutation.")
def main(images: int, calls: int, seed: int) -> None:
    """Print what became of all of them; exit with 1 where something happened that may not."""
    faults = [*_images(seed, images), *_calls(seed, calls)]
    for fault in faults:
        click.echo(f"FAULT {fault}")
    click.echo(f"fuzz: {'failed' if faults else 'passed'}, {len(faults)} faults")
    sys.exit(1 if faults else 0)


def _images(seed: int, count: int) -> list[str]:
    done = decode_supervised(seed, count)
    report = done.report
    click.echo(
        f"images: {count} mutations from seed {seed}: {report.decoded_count} decoded, "
        f"{report.refused_count} refused; slowest {report.slowest_s * 1000:.0f} ms (number "
        f"{report.slowest}); memory grew by {done.growth_bytes / 1e6:.1f} MB"
    )
    return [*done.faults, *_limits("decoder", report.slowest_s, done.growth_bytes)]


def _calls(seed: int, count: int) -> list[str]:
    with (
        tempfile.TemporaryDirectory(prefix="arno-fuzz-") as folder,
        running_stack(Path(folder), bus="redis") as stack,
    ):
        report, growth_bytes, alive = asyncio.run(_attack(stack, seed, count))
        log = (stack.folder / "gateway.log").read_text(errors="replace")
    codes = ", ".join(f"{name} {times}" for name, times in report.codes.most_common())
    click.echo(
        f"calls: {count} mutations from seed {seed}: {codes}; slowest "
        f"{report.slowest_s * 1000:.0f} ms (number {report.slowest}); the gateway's memory grew by "
        f"{growth_bytes / 1e6:.1f} MB"
    )
    faults = [*report.faults, *_limits("gateway", 0.0, growth_bytes)]
    faults += [f"call {number} takes longer than {SLOW_S:g} s" for number in report.slow]
    if not alive:
        faults.append("the gateway does not answer a sound request any more")
    faults += [line for line in log.splitlines() if "Traceback" in line or "unexpected" in line][:5]
    return faults


async def _attack(stack: Stack, seed: int, count: int) -> tuple[CallReport, int, bool]:
    fuzzer, warm_up = CallFuzzer(stack.target), count // 10
    await fuzzer.run(seed, warm_up)
    warm_bytes = stack.rss_bytes()["gateway"]
    await fuzzer.run(seed + warm_up, count - warm_up)
    growth_bytes = stack.rss_bytes()["gateway"] - warm_bytes
    fuzzer.report.slow = await fuzzer.hanging()
    async with grpc.aio.insecure_channel(stack.target) as channel:
        try:
            await channel.unary_unary(_INFER)(call_seeds()[_INFER][1], timeout=10)
        except grpc.aio.AioRpcError:
            return fuzzer.report, growth_bytes, False
    return fuzzer.report, growth_bytes, True


def _limits(what: str, slowest_s: float, growth_bytes: int) -> list[str]:
    faults = []
    if slowest_s > SLOW_S:
        faults.append(f"{what}: the slowest took {slowest_s:.2f} s; allowed: {SLOW_S:g} s")
    if growth_bytes > GROWTH_BYTES:
        faults.append(f"{what}: memory grew by {growth_bytes} bytes; allowed: {GROWTH_BYTES}")
    return faults


if __name__ == "__main__":
    main()
