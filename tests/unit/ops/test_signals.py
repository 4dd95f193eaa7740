"""An event that a signal handler sets, in whatever line it interrupts the one who waits."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from arno.ops import signals
from arno.ops.signals import SignalEvent
from support.eventually import eventually

PYTHON = {threading.__file__, signals.__file__}


@pytest.fixture
def untraced() -> Iterator[None]:
    before = sys.gettrace()
    yield
    sys.settrace(before)


def interrupted_at(line: int, event: SignalEvent) -> bool:
    """Wait for the event; set it as a handler would that interrupts this thread at a line.

    Returns whether there is such a line: the wait ended before it otherwise.
    """
    lines = 0

    def trace(frame: FrameType, kind: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename not in PYTHON:
            return None
        if kind == "line":
            lines += 1
            if lines == line:
                sys.settrace(None)
                event.set()
        return trace

    sys.settrace(trace)
    event.wait(0.01)
    sys.settrace(None)
    return lines >= line


@pytest.mark.usefixtures("untraced")
def test_handler_may_interrupt_the_wait_in_any_of_its_lines() -> None:
    line = 1
    while True:
        event = SignalEvent()
        if not interrupted_at(line, event):
            break
        assert event.is_set()
        assert event.wait()
        line += 1
    assert line > 2


def test_signal_ends_a_wait_that_blocks() -> None:
    event, waits = SignalEvent(), threading.get_ident()
    before = signal.signal(signal.SIGUSR1, lambda *_: event.set())

    def sends() -> None:
        # Until this thread is blocked in the wait; the frame below is that of the wait then.
        eventually(lambda: sys._current_frames()[waits].f_code.co_name == "wait")
        os.kill(os.getpid(), signal.SIGUSR1)

    sender = threading.Thread(target=sends)
    sender.start()
    try:
        assert event.wait(10)
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
