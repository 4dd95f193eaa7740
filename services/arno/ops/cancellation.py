"""Bring back a cancellation of an asyncio task that a library has swallowed."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError where this task was cancelled; call it in every loop around Redis.

    The Redis client sends a command under ``asyncio.wait_for``. Before Python 3.12 that returns the
    result where the task is cancelled in the turn of the loop in which the result has come, so the
    command goes on as if nothing had happened (seen with redis-py 8.1 on Python 3.11). The answer
    is then right, and no connection holds an unread one; but a loop that should end goes round.
    The task still records that it was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
