"""When full collections run, and what they leave alone."""

from __future__ import annotations

import subprocess
import sys

from arno.gateway.full_collections import (
    CALM_CALLS_MAX,
    CALM_INTERVAL_S,
    INTERVAL_S_MAX,
    FullCollections,
)
from support.clock import ManualClock


class Watched:
    """Looks every second; ``open_count`` calls are open."""

    def __init__(self) -> None:
        self.open_count = 0
        self.collected_at_s: list[float] = []
        self._clock = ManualClock(0.0)
        self._collections = FullCollections(
            lambda: self.open_count,
            clock=self._clock,
            collect=lambda: self.collected_at_s.append(self._clock.monotonic_s()),
        )

    def pass_time(self, duration_s: float) -> None:
        for _ in range(round(duration_s)):
            self._clock.advance(1.0)
            self._collections.look()


def test_calm_gateway_collects_at_its_interval():
    watched = Watched()
    watched.open_count = CALM_CALLS_MAX
    watched.pass_time(3 * CALM_INTERVAL_S)
    assert watched.collected_at_s == [CALM_INTERVAL_S, 2 * CALM_INTERVAL_S, 3 * CALM_INTERVAL_S]


def test_busy_gateway_puts_collections_off_but_not_for_ever():
    watched = Watched()
    watched.open_count = CALM_CALLS_MAX + 1
    watched.pass_time(2 * INTERVAL_S_MAX)
    assert watched.collected_at_s == [INTERVAL_S_MAX, 2 * INTERVAL_S_MAX]


def test_collection_that_was_put_off_comes_with_the_first_calm_moment():
    watched = Watched()
    watched.open_count = 1000
    watched.pass_time(INTERVAL_S_MAX - 1)
    watched.open_count = 0
    watched.pass_time(1)
    assert watched.collected_at_s == [INTERVAL_S_MAX]
    watched.pass_time(CALM_INTERVAL_S)
    assert watched.collected_at_s == [INTERVAL_S_MAX, INTERVAL_S_MAX + CALM_INTERVAL_S]


def test_taking_over_freezes_what_there_is_and_lets_no_full_collection_begin_by_itself():
    # In a process of its own: it changes the interpreter.
    code = """
import gc
from arno.gateway.full_collections import take_over
take_over()
frozen_count, begun = gc.get_freeze_count(), []
gc.callbacks.append(lambda phase, info: begun.append(info["generation"]))
kept = [[] for _ in range(500_000)]
print(frozen_count > 10_000, 0 in begun, 1 in begun, 2 in begun)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "True True True False\n"
