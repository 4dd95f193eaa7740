"""Give mutated bytes to a parser: each is read, or refused by name; nothing else may happen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from arno.errors import ArnoError
from fuzz.mutations import mutated
from fuzz.targets import Target


@dataclass(slots=True)
class Report:
    """What became of the inputs.

    Attributes:
        read_count: Inputs that were taken.
        refused_count: Inputs that were refused by name.
        faults: Anything else, with the number of the mutation and where its bytes are.
        slowest_s: The longest that one took, in processor time.
        slowest: Its number.
    """

    read_count: int = 0
    refused_count: int = 0
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1


def content_of(target: Target, number: int) -> bytes:
    """Return the mutation of that number; below 0, a seed as it is."""
    found = target.seeds()
    return found[-number - 1] if number < 0 else mutated(found, number)


def try_one(target: Target, number: int, report: Report, keep: Path) -> None:
    """Read the mutation of that number."""
    content = content_of(target, number)
    began_s = time.thread_time()
    try:
        target.read(content)
        report.read_count += 1
    except ArnoError:
        report.refused_count += 1
    except Exception as fault:  # noqa: BLE001 - finding these is what it is for
        report.faults.append(f"{kept(target, number, keep)}: {fault!r}")
    took_s = time.thread_time() - began_s
    if took_s > report.slowest_s:
        report.slowest_s, report.slowest = took_s, number


def kept(target: Target, number: int, keep: Path) -> str:
    """Write the bytes of a number into a folder, and return what names number and file."""
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{target.name}-{number}"
    path.write_bytes(content_of(target, number))
    return f"{target.name} {number} ({path})"
