"""End a process by signals: the first asks it to leave, the second ends it at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal


class SignalEvent:
    """An event that a signal handler may set while the main thread waits for it.

    `threading.Event` is none: `set` and `wait` take its lock, and a handler that runs while the
    main thread holds the lock inside `wait` waits for it for ever. `SimpleQueue.put` is reentrant.
    """

    def __init__(self) -> None:
        """Begin unset."""
        self._is_set = False
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        """Return whether it was set. Any thread."""
        return self._is_set

    def set(self) -> None:
        """Set it, for good. Any thread, and any signal handler."""
        self._is_set = True
        self._bell.put(None)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether it was set, once it is or the time is over. One thread waits."""
        if not self._is_set:
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=timeout_s)
        return self._is_set


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets; for the main thread's running loop."""
    stop = asyncio.Event()

    def leave(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave, number)
    return stop
