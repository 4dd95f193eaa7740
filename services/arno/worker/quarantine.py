"""Give a job at which workers have died one last chance, apart from all others.

A job that kills its process takes the jobs beside it along, and that death counts against each of
them. A last chance that ran beside others could be used up by one of these. So it begins when no
other job is in flight, and no other job begins while it is: only the job that kills runs out of
chances.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from arno.results.jobs import Attempt
from arno.worker.retrying import AbandonedError

Begin: TypeAlias = Callable[[int], Attempt]
"""Begins a job, unless this number of workers, or more, have died at it."""


class Quarantine:
    """Lets jobs begin side by side, and a last chance alone. Any thread."""

    def __init__(self, *, deaths_max: int) -> None:
        """Take the number of deaths at which a job is given up; with 1 there is no last chance."""
        self._deaths_max = deaths_max
        self._free = threading.Condition()
        self._in_flight: set[Attempt] = set()
        self._beginning_count = 0
        self._alone = False
        """Whether a last chance is in flight."""

        self._claimed = False
        """Whether a last chance waits until no other job is in flight, or begins."""

        self._stopped = False

    def begin(self, begin: Begin) -> Attempt:
        """Begin a job, alone where this is its last chance; call `leave` when the attempt ends.

        Returns:
            What `begin` returned; not begun where there is nothing to do, or no chance left.

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
            self._in_flight.discard(attempt)
            if not self._in_flight:
                self._alone = False
            self._free.notify_all()

    def stop(self) -> None:
        """End all waiting with AbandonedError."""
        with self._free:
            self._stopped = True
            self._free.notify_all()

    def _begin_alone(self, begin: Begin) -> Attempt:
        with self._free:
            self._wait(lambda: not (self._alone or self._claimed))
            self._claimed = True
        try:
            with self._free:
                self._wait(lambda: not (self._in_flight or self._beginning_count))
            attempt = self._note(begin(self._deaths_max))
            self._alone = attempt.begun
        finally:
            with self._free:
                self._claimed = False
                self._free.notify_all()
        return attempt

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Begin beside others: each asks the store, and none waits for the answer to another."""
        with self._free:
            self._wait(lambda: not (self._alone or self._claimed))
            self._beginning_count += 1
        try:
            yield
        finally:
            with self._free:
                self._beginning_count -= 1
                self._free.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._free.wait_for(lambda: self._stopped or ready())
        if self._stopped:
            raise AbandonedError("quarantine")

    def _note(self, attempt: Attempt) -> Attempt:
        if attempt.begun:
            with self._free:
                self._in_flight.add(attempt)
        return attempt
