"""Measure how long a device works, without waiting for it.

A call on a GPU returns when its kernels are launched, so that the host's clock measures the launch.
CUDA's events are recorded between the kernels, by the GPU's own clock, and can be read once it has
come so far: after the next wait, which a decode step makes anyway.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from arno.batching import ImagePrice


def _cuda_event() -> Any:
    make: Any = torch.cuda.Event
    return make(enable_timing=True)


class Stopwatch:
    """Runs from its making to `stop`."""

    def __init__(self, device: torch.device, make_event: Callable[[], Any] = _cuda_event) -> None:
        """Start.

        Args:
            device: Does the work.
            make_event: Makes an event of a GPU; torch's, or a test's.
        """
        self._events = (make_event(), make_event()) if device.type == "cuda" else None
        if self._events is not None:
            self._events[0].record()
        self._began_s = time.perf_counter()
        self._took_s: float | None = None

    def stop(self) -> None:
        """Stop behind all work that was launched so far. Once."""
        if self._events is None:
            self._took_s = time.perf_counter() - self._began_s
        else:
            self._events[1].record()

    @property
    def done(self) -> bool:
        """Whether the device has come so far."""
        return self._events is None or bool(self._events[1].query())

    @property
    def seconds(self) -> float:
        """What it measured; waits for a device that has not come so far."""
        if self._took_s is None:
            assert self._events is not None  # noqa: S101 - else it was not stopped
            begin, end = self._events
            end.synchronize()
            self._took_s = float(begin.elapsed_time(end)) / 1000
        return self._took_s


class EncodingTimes:
    """What encoding images costs, learnt when the device has done it. The engine's thread only."""

    def __init__(self) -> None:
        """Start without a measurement."""
        self.price = ImagePrice()
        self._late: deque[tuple[int, Stopwatch]] = deque()

    def note(self, image_count: int, watch: Stopwatch) -> None:
        """Take the measurement of a group of images."""
        if watch.done:
            self.price.learn_images(image_count, watch.seconds)
        else:
            self._late.append((image_count, watch))

    def note_step(self, token_count: int, took_s: float) -> float:
        """Take the time of a decode step, which waits for the device.

        Args:
            token_count: Tokens that it decoded, counted over all beams.
            took_s: Seconds, the wait for what was launched before it included.

        Returns:
            The seconds of it that the device spent on encoding.
        """
        encoding_s = 0.0
        while self._late and self._late[0][1].done:
            image_count, watch = self._late.popleft()
            self.price.learn_images(image_count, watch.seconds)
            encoding_s += watch.seconds
        encoding_s = min(encoding_s, took_s)  # some of it may have passed before the step
        self.price.learn_tokens(token_count, took_s - encoding_s)
        return encoding_s
