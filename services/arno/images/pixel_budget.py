"""Bound the memory of all image decodes of a process together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SMALL_PART: Final = 32


def small_pixels(pixels_max: int) -> int:
    """Return the size of the largest image that passes a budget without waiting, in pixels."""
    return pixels_max // _SMALL_PART


class PixelBudget:
    """Pixels that may be decoded at the same time; callers beyond it wait in order. Any thread.

    A decode takes 5 to 16 bytes a pixel at its peak. The first in the queue waits until its image
    fits, so a large one is not overtaken for ever; an image above the whole budget is decoded
    alone. Small images (`small_pixels`) pass at once and are not counted: there is at most one a
    thread, and behind large ones they would wait for seconds.
    """

    def __init__(self, pixels_max: int) -> None:
        """Take the most pixels that are decoded at once."""
        self._pixels_max = pixels_max
        self._pixels = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def queue_length(self) -> int:
        """Callers that wait for their part."""
        with self._changed:
            return len(self._queue)

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Take a part of the budget for as long as the block runs; wait until there is as much."""
        if pixels <= small_pixels(self._pixels_max):
            yield
            return
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(pixels))
            self._queue.popleft()
            self._pixels += pixels
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._pixels -= pixels
                self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return not self._pixels or self._pixels + pixels <= self._pixels_max
