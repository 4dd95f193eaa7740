"""Give a gateway much work, but a bounded number of calls at once, and wait while it is full."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Final, TypeVar

from arno.errors import ArnoError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_PAUSE_S: Final = 1.0
"""Where the error does not say."""


def as_they_end(
    pool: Executor, in_flight_max: int, work: Callable[[ItemT], ResultT], items: Iterable[ItemT]
) -> Iterator[ResultT]:
    """Yield what the work of each item returns, in the order in which it ends.

    Args:
        pool: Its threads do the work; it stays the caller's.
        in_flight_max: Items under way at once. An item is read once there is a place for it.
        work: Called once for each item.
        items: Any number.

    Raises:
        Exception: What `work` raised; the items under way go on.
    """
    waiting = iter(items)
    under_way: set[Future[ResultT]] = set()
    while True:
        for item in itertools.islice(waiting, in_flight_max - len(under_way)):
            under_way.add(pool.submit(work, item))
        if not under_way:
            return
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


def patiently(
    call: Callable[[], ResultT],
    *,
    passing: tuple[type[ArnoError], ...],
    patience_s: float,
    pause: Callable[[ArnoError, float], object],
) -> ResultT:
    """Return what a call returns; repeat it while it fails for reasons that pass.

    Args:
        call: The call.
        passing: Errors after which it is repeated.
        patience_s: How long, in seconds, it is repeated.
        pause: Called before each repetition with the error and the seconds that it has to wait.

    Raises:
        ArnoError: The error of the last call.
    """
    patient_until_s = time.monotonic() + patience_s
    while True:
        try:
            return call()
        except passing as error:
            if time.monotonic() > patient_until_s:
                raise
            pause(error, getattr(error, "retry_delay_s", _PAUSE_S))
