"""Run a parser on mutated bytes in a process of its own, which may crash or hang."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from fuzz.reading import Report, kept, try_one
from fuzz.targets import PLANTED, TARGETS, Target

_HANG_S = 10.0
"""A number that is not passed for so long hangs, however busy the machine is."""

_START_S = 120.0
"""Longer for what comes before the first: the process imports torch."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """What the process did.

    Attributes:
        report: Of the inputs that it got through.
        growth_bytes: Its memory at the end over that after a tenth of the inputs.
    """

    report: Report
    growth_bytes: int


def read_supervised(target: Target, first: int, count: int, keep: Path) -> Supervised:
    """Read the seeds as they are, then the mutations of these numbers.

    Args:
        target: One of `TARGETS` or `PLANTED`: the process looks it up by its name.
        first: The first number.
        count: How many mutations.
        keep: The folder for the bytes of faults.
    """
    context = multiprocessing.get_context("spawn")
    start = -len(target.seeds())
    number = context.Value(ctypes.c_longlong, start)
    begun = context.Event()
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(
        target=_read, args=(target.name, (first, count), (number, begun), keep, theirs), daemon=True
    )
    child.start()
    theirs.close()
    begun.wait(_START_S)
    stuck = _watch(child, number)
    try:
        report, growth_bytes = ours.recv()
    except EOFError:
        ended = "hangs" if stuck else f"ends the process ({child.exitcode})"
        report, growth_bytes = Report(), 0
        report.faults.append(f"{kept(target, number.value, keep)} {ended}")
    child.join()
    return Supervised(report, growth_bytes)


def _watch(child: Any, number: Any) -> bool:
    """Wait for the child's end; end it and return True where it hangs."""
    seen, since_s = number.value, time.monotonic()
    while child.is_alive():
        child.join(0.2)
        if number.value != seen:
            seen, since_s = number.value, time.monotonic()
        elif time.monotonic() - since_s > _HANG_S:
            child.kill()
            child.join()
            return True
    return False


def _read(
    name: str, numbers: tuple[int, int], signals: tuple[Any, Any], keep: Path, report_to: Connection
) -> None:
    # libtiff says what it thinks of every file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    (first, count), (number, begun) = numbers, signals
    target = {**TARGETS, **PLANTED}[name]
    report, process, warm_bytes = Report(), psutil.Process(), 0
    # What a first input imports, torch for some, is not its own time.
    try_one(target, -1, Report(), keep)
    begun.set()
    for one in range(-len(target.seeds()), 0):
        number.value = one
        try_one(target, one, report, keep)
    for done in range(count):
        number.value = first + done
        try_one(target, first + done, report, keep)
        if done == count // 10:
            warm_bytes = process.memory_info().rss
    report_to.send((report, process.memory_info().rss - warm_bytes))
