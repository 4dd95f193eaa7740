"""Freed memory stays in the process, and is given back when asked."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")

_MEASURE = """
import resource, threading
from arno.ops.freed_memory import give_freed_memory_back, keep_freed_memory

def use():
    return bytearray(b"x") * (100 << 20)  # a block larger than any heap of a thread

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

faults, asked = [], KEEP
if asked:
    keep_freed_memory()
in_a_thread(use)
in_a_thread(count_faults)
kept = resident_bytes()
give_freed_memory_back()
print(faults[0], kept - resident_bytes())
"""


def _measure(*, keep: bool) -> tuple[int, int]:
    code = _MEASURE.replace("KEEP", str(keep))
    faults, given_back = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    return int(faults), int(given_back)


def test_a_block_that_was_freed_is_used_again_without_faults():
    faults, given_back = _measure(keep=True)
    assert faults < 1000
    assert given_back > 90 << 20


def test_without_it_every_page_is_a_fault():
    faults, given_back = _measure(keep=False)
    assert faults > 20_000
    assert given_back < 10 << 20
