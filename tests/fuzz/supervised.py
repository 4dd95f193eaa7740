"""Run the decoding of mutated images in a process of its own, which may crash or hang."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import psutil
from fuzz.images import ImageReport, try_image

_HANG_S = 10.0
"""A number that is not passed for so long hangs, however busy the machine is."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """What the process did.

    Attributes:
        report: Of the images that it got through.
        growth_bytes: Its memory at the end over that after a tenth of the images.
        faults: With crashes and hangs.
    """

    report: ImageReport
    growth_bytes: int
    faults: tuple[str, ...]


def decode_supervised(first: int, count: int) -> Supervised:
    """Decode the mutations of these numbers."""
    spawning = multiprocessing.get_context("spawn")
    number = spawning.Value(ctypes.c_longlong, first)
    ours, theirs = spawning.Pipe(duplex=False)
    child = spawning.Process(target=_decode, args=(first, count, number, theirs), daemon=True)
    child.start()
    theirs.close()
    stuck = _watch(child, number)
    try:
        report, growth_bytes = ours.recv()
    except EOFError:
        ended = "hangs" if stuck else f"ends the process ({child.exitcode})"
        report, growth_bytes = ImageReport(), 0
        report.faults.append(f"image {number.value} {ended}")
    child.join()
    return Supervised(report, growth_bytes, tuple(report.faults))


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


def _decode(first: int, count: int, number: Any, report_to: Connection) -> None:
    # libtiff says what it thinks of every file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    report, process, warm_bytes = ImageReport(), psutil.Process(), 0
    for done in range(count):
        number.value = first + done
        try_image(first + done, report)
        if done == count // 10:
            warm_bytes = process.memory_info().rss
    report_to.send((report, process.memory_info().rss - warm_bytes))
