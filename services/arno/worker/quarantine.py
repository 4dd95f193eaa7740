"""Give a job at which workers have died one last chance, apart from all others.

A job that kills its process takes its neighbours with it, and that death counts against every one
of them. Were a last chance to run beside others, one of these could use it up. So it begins when
nothing else is in hand, and nothing else begins while it is: only the guilty one runs out of
chances.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from arno.results.jobs import Attempt
from arno.worker.retrying import AbandonedError

Begin: TypeAlias = Callable[[int], Attempt]
"""Begins a job, unless so many workers have died at it."""


class Quarantine:
    """Lets jobs begin one after the other, and a last chance alone. Any thread."""

    def __init__(self, *, deaths_max: int) -> None:
        """Take at how many deaths a job is given up; 1 knows no last chance and isolates nobody."""
        self._deaths_max = deaths_max
        self._free = threading.Condition()
        self._in_hand: Counter[Attempt] = Counter()
        self._alone = False
        self._beginning = False
        self._stopped = False

    def begin(self, begin: Begin) -> Attempt:
        """Begin a job, alone where this is its last chance; the caller ``leave``s with the attempt.

        Returns:
            What ``begin`` returned; not begun where there is nothing to do, or no chance left.

        Raises:
            AbandonedError: The process leaves.
        """
        suspect_at = max(1, self._deaths_max - 1)
        with self._turn():
            attempt = self._note(begin(suspect_at))
        if attempt.begun or not suspect_at <= attempt.death_count < self._deaths_max:
            return attempt
        return self._begin_alone(begin)

    def leave(self, attempt: Attempt) -> None:
        """Note that an attempt has ended; one that was not begun counts for nothing."""
        with self._free:
            # Equal ones may be in hand at once, in a store that has lost its memory.
            left = self._in_hand.pop(attempt, 0) - 1
            if left > 0:
                self._in_hand[attempt] = left
            if not self._in_hand:
                self._alone = False
            self._free.notify_all()

    def stop(self) -> None:
        """Let those who wait give up."""
        with self._free:
            self._stopped = True
            self._free.notify_all()

    def _begin_alone(self, begin: Begin) -> Attempt:
        with self._turn():
            with self._free:
                self._wait(lambda: not self._in_hand)
            attempt = self._note(begin(self._deaths_max))
            self._alone = attempt.begun
        return attempt

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._free:
            self._wait(lambda: not (self._alone or self._beginning))
            self._beginning = True
        try:
            yield
        finally:
            with self._free:
                self._beginning = False
                self._free.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._free.wait_for(lambda: self._stopped or ready())
        if self._stopped:
            raise AbandonedError("quarantine")

    def _note(self, attempt: Attempt) -> Attempt:
        if attempt.begun:
            with self._free:
                self._in_hand[attempt] += 1
        return attempt
