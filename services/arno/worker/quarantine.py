"""Give a job that ended its process before one last chance, apart from others in the same state.

A job that kills its process takes its neighbours with it, and every one of them has counted an
attempt. Were their last attempts to run side by side, the next crash would use up the neighbours'
as well. So nothing else begins while a job on its last attempt is in hand: only the guilty one can
still run out of attempts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from arno.results.ports import Attempt
from arno.worker.retrying import AbandonedError


class Quarantine:
    """Lets jobs begin one after the other, and a last attempt alone. Any thread."""

    def __init__(self, *, attempts_max: int) -> None:
        """Take the number of the last attempt; 1 knows no second ones and holds nobody up."""
        self._attempts_max = attempts_max
        self._free = threading.Condition()
        self._alone: tuple[str, int] | None = None
        self._beginning = False
        self._stopped = False

    def begin(self, begin: Callable[[], Attempt]) -> Attempt:
        """Begin a job once no last attempt is in hand; the caller ``leave``s with every attempt.

        Raises:
            AbandonedError: The process leaves.
        """
        with self._free:
            self._free.wait_for(self._open)
            if self._stopped:
                raise AbandonedError("quarantine")
            self._beginning = True
        try:
            attempt = begin()
            if not attempt.state.terminal and self._last(attempt):
                self._alone = (attempt.job_id, attempt.number)
        finally:
            with self._free:
                self._beginning = False
                self._free.notify_all()
        return attempt

    def leave(self, attempt: Attempt) -> None:
        """Let others begin again, where this attempt held them up. Idempotent."""
        with self._free:
            if self._alone == (attempt.job_id, attempt.number):
                self._alone = None
                self._free.notify_all()

    def stop(self) -> None:
        """Let those who wait give up."""
        with self._free:
            self._stopped = True
            self._free.notify_all()

    def _open(self) -> bool:
        return self._stopped or (self._alone is None and not self._beginning)

    def _last(self, attempt: Attempt) -> bool:
        return attempt.number == self._attempts_max > 1
