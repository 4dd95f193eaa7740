"""Limits what kafka-python logs while no broker answers.

Stands alone: it changes the library like the patches beside it, and neither clients nor
connections.
"""

from __future__ import annotations

import logging
import math
from typing import Final

from arno.ops.clock import SYSTEM_CLOCK, Clock

_REPEAT_AFTER_S: Final = 30.0


class _RepeatLimit(logging.Handler):
    """Passes what each line of the library's code logs on to the root's handlers, now and then.

    Defect: the client logs four lines a second while no broker answers, an INFO line for each
    attempt to reconnect, and a warning that a topic it has just heard of has no partitions.

    Test: ``test_unpatched_client_floods_the_log``.

    Report: "Log reconnection attempts at DEBUG, and once per outage at WARNING."
    """

    def __init__(self, *, after_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        """Take how long a line of code is silent after it has logged."""
        super().__init__()
        self._after_s = after_s
        self._clock = clock
        self._logged_s: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, unless the same line has logged one lately."""
        place = (record.pathname, record.lineno)
        now_s = self._clock.monotonic_s()
        root = logging.getLogger()
        if (
            record.levelno < root.level
            or now_s - self._logged_s.get(place, -math.inf) < self._after_s
        ):
            return
        self._logged_s[place] = now_s
        root.handle(record)


def limit_logs(library: str = "kafka", *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Limit what the library logs; see ``_RepeatLimit``. Idempotent."""
    log = logging.getLogger(library)
    if any(isinstance(handler, _RepeatLimit) for handler in log.handlers):
        return
    log.addHandler(_RepeatLimit(after_s=_REPEAT_AFTER_S, clock=clock))
    log.propagate = False
    log.setLevel(logging.WARNING)
    logging.getLogger(f"{library}.coordinator.assignors").setLevel(logging.ERROR)
