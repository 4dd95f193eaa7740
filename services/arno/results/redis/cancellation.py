"""Brings back a cancellation that the Redis client has swallowed.

Before a command the client looks whether its connection has unread bytes, under
``asyncio.timeout(0)``. A task cancelled in just that moment gets one CancelledError for both, and
the client takes it for its own timeout (seen with redis-py 8.1 on Python 3.11). The task still
knows that it was asked to stop.
"""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError where this task was cancelled; call it before every unbounded wait."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
