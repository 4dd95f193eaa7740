"""`python -m fuzz`: mutated bytes for every parser, mutated calls to a real gateway."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
from fuzz.calls import SLOW_S, CallFuzzer, CallReport
from fuzz.seeds import call_seeds
from fuzz.supervised import read_supervised
from fuzz.targets import TARGETS, Target

from benchmarks.kept_pages import write_block
from benchmarks.stack import Stack, running_stack

GROWTH_BYTES = 64 * 1024 * 1024
CALLS = "calls"
_INFER = "/arno.api.v1.VisionService/Infer"
_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "security.md"
_BLOCK = "figures of make fuzz"


@dataclass(slots=True)
class Figures:
    """What became of one target.

    Attributes:
        name: Of the target.
        inputs: Mutations that were sent, seeds left out.
        taken: Inputs that were read, or calls that succeeded.
        slowest_s: The longest that one took.
        seconds: That all took.
        faults: What may not happen.
    """

    name: str
    inputs: int
    taken: int
    slowest_s: float
    seconds: float
    faults: list[str]


@click.command()
@click.option("--inputs", default=20_000, show_default=True, help="Mutations for each target.")
@click.option("--seed", default=0, show_default=True, help="Number of the first mutation.")
@click.option("--only", default="", help=f"One target: {', '.join([*TARGETS, CALLS])}.")
@click.option(
    "--keep",
    default=_ROOT / "fuzz-faults",
    show_default="fuzz-faults",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the bytes that led to a fault; move them to tests/fuzz/corpus/TARGET.",
)
@click.option("--write", is_flag=True, help="Write the figures into docs/security.md.")
def main(inputs: int, seed: int, only: str, keep: Path, *, write: bool) -> None:
    """Print what became of all of them; exit with 1 where something happened that may not."""
    if only and only not in (*TARGETS, CALLS):
        raise click.BadParameter(f"{only!r} is none of {', '.join([*TARGETS, CALLS])}")
    found = [
        _parser(target, seed, inputs, keep)
        for name, target in TARGETS.items()
        if only in ("", name)
    ]
    found += [_calls(seed, inputs)] if only in ("", CALLS) else []
    faults = [fault for figures in found for fault in figures.faults]
    for fault in faults:
        click.echo(f"FAULT {fault}")
    click.echo(f"fuzz: {'failed' if faults else 'passed'}, {len(faults)} faults")
    if write:
        write_figures(_PAGE, found)
    sys.exit(1 if faults else 0)


def _parser(target: Target, seed: int, count: int, keep: Path) -> Figures:
    began_s = time.monotonic()
    done = read_supervised(target, seed, count, keep)
    report, seconds = done.report, time.monotonic() - began_s
    click.echo(
        f"{target.name}: {count} mutations from seed {seed} in {seconds:.0f} s: "
        f"{report.read_count} read, {report.refused_count} refused; slowest "
        f"{report.slowest_s * 1000:.0f} ms (number {report.slowest}); memory grew by "
        f"{done.growth_bytes / 1e6:.1f} MB"
    )
    faults = [*report.faults, *_limits(target.name, report.slowest_s, done.growth_bytes)]
    return Figures(target.name, count, report.read_count, report.slowest_s, seconds, faults)


def _calls(seed: int, count: int) -> Figures:
    began_s = time.monotonic()
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
    seconds = time.monotonic() - began_s
    return Figures(CALLS, count, report.codes["OK"], report.slowest_s, seconds, faults)


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


def write_figures(page: Path, found: list[Figures]) -> None:
    """Replace the figures on a page."""
    rows = [
        f"| {one.name} | {one.inputs} | {one.taken} | {len(one.faults)} | {one.seconds:.0f} | "
        f"{one.slowest_s * 1000:.0f} |"
        for one in found
    ]
    table = [
        "| target | mutated inputs | taken | faults | seconds | slowest, ms |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}."
    write_block(page, _BLOCK, "\n".join([when, "", *table]))


if __name__ == "__main__":
    main()
