"""Choose which frames of a video are sent, from their timestamps alone.

The rule: time is divided into slots of 1/fps seconds, counted from the first frame, which is at 0.
The first frame in a slot is taken, every other is left out, and a slot without a frame stays empty.
So a source slower than the rate is sent whole, and a gap in it is not filled up afterwards.
"""

from __future__ import annotations

import math
from fractions import Fraction

from arno.errors import InvalidFieldError


class Sampler:
    """Says of each frame, in order, whether it is taken. Exact: no rounding adds up over hours."""

    def __init__(self, fps: float | None) -> None:
        """Take the wanted rate in frames a second; None takes every frame.

        Raises:
            InvalidFieldError: The rate is not a number above 0.
        """
        if fps is not None and not 0 < fps < math.inf:
            problem = "the rate must be a number above 0"
            raise InvalidFieldError(field="fps", problem=problem, sent=f"{fps:g}")
        # 29.97 is meant, not the binary number nearest to it.
        self._fps = None if fps is None else Fraction(str(fps))
        self._next_slot = 0

    def take(self, time_s: Fraction) -> bool:
        """Say whether the frame at this time, in seconds after the first, is taken."""
        if self._fps is None:
            return True
        slot = int(time_s * self._fps)
        if slot < self._next_slot:
            return False
        self._next_slot = slot + 1
        return True
