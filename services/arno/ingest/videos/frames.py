"""Read a video file, a network stream or a camera as sampled JPEG frames.

A live source that breaks off is opened again, after growing pauses.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from arno.errors import InvalidFieldError, UnavailableError
from arno.ingest.videos.pictures import SourceOptions, open_source, pictures
from arno.ops.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

_JPEG_QUALITY: Final = 90
"""Above it files grow faster than the answers improve; below it small text suffers."""

_HASH_SIDE: Final = 16

_PAUSE_S_MIN: Final = 0.5
_PAUSE_S_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One frame that was taken.

    Attributes:
        sequence: 0, 1, 2, ... over the frames taken.
        timestamp_ms: Milliseconds after the source's first frame.
        content: The frame as a JPEG file, the right way up.
        hash: 256 bits, of which few differ between pictures that look alike; None where not asked.
    """

    sequence: int
    timestamp_ms: int
    content: bytes
    hash: int | None = None


Wait = Callable[[float], bool]
"""Waits a number of seconds; returns whether a stop was requested meanwhile."""


def undisturbed(pause_s: float) -> bool:
    """Wait without a way to be stopped."""
    time.sleep(pause_s)
    return False


class Sampler:
    """Choose which frames of a video are sent, from their timestamps alone.

    Time is divided into slots of 1/fps seconds, counted from the first frame, which is at 0. The
    first frame in a slot is taken, every other is left out, and a slot without a frame stays empty.
    So a source slower than the rate is sent whole, and a gap in it is not filled up afterwards.
    Exact: no rounding adds up over hours.
    """

    def __init__(self, fps: float | None) -> None:
        """Set the rate in frames per second; None takes every frame.

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
        """Return whether the frame at this time, in seconds after the first, is taken."""
        if self._fps is None:
            return True
        slot = int(time_s * self._fps)
        if slot < self._next_slot:
            return False
        self._next_slot = slot + 1
        return True


def read_source(
    options: SourceOptions, wait: Wait, *, clock: Clock = SYSTEM_CLOCK
) -> Iterator[SampledFrame]:
    """Yield the sampled frames of a source; a live one is opened again whenever it breaks off.

    Sequence numbers go on over a reconnection, and timestamps by the time that passed.

    Raises:
        InvalidFieldError: There is no such source, it is no video, or it has no video stream.
        UnavailableError: A live source cannot be opened the first time.
        MissingExtraError: PyAV is not installed.
    """
    if not options.live:
        yield from read_frames(options, wait)
        return
    started_s = clock.monotonic_s()
    sequence = 0
    pause_s = _PAUSE_S_MIN
    while not wait(0):
        offset_ms = round((clock.monotonic_s() - started_s) * 1000) if sequence else 0
        try:
            for frame in read_frames(options, wait):
                pause_s = _PAUSE_S_MIN
                yield dataclasses.replace(
                    frame, sequence=sequence, timestamp_ms=frame.timestamp_ms + offset_ms
                )
                sequence += 1
                if sequence == options.frame_count_max:
                    return
        except UnavailableError as error:
            if not sequence:
                raise
            logger.warning("%s; opening it again in %.1f s", error.message, pause_s)
        if wait(pause_s):
            return
        pause_s = min(pause_s * 2, _PAUSE_S_MAX)


def read_frames(options: SourceOptions, wait: Wait = undisturbed) -> Iterator[SampledFrame]:
    """Yield the sampled frames of one connection to the source, until it ends or is stopped.

    Raises:
        InvalidFieldError: There is no such source, it is no video, or it has no video stream.
        UnavailableError: A live source does not answer, or breaks off.
        MissingExtraError: PyAV is not installed.
    """
    sampler = Sampler(options.fps)
    started_s: float | None = None
    sequence = 0
    with open_source(options) as container:
        for picture in pictures(container, options):
            if wait(0):
                return
            if not sampler.take(picture.time_s):
                continue
            if sequence < options.begin:
                sequence += 1
                continue
            if started_s is None:
                started_s = time.monotonic() - float(picture.time_s)
            early_s = started_s + float(picture.time_s) - time.monotonic()
            if options.realtime and early_s > 0 and wait(early_s):
                return
            found = perceptual_hash(picture.frame) if options.hashed else None
            at_ms = round(picture.time_s * 1000)
            yield SampledFrame(sequence, at_ms, _jpeg(picture.frame), found)
            sequence += 1
            if sequence == options.frame_count_max:
                return


def duration_s(options: SourceOptions) -> float | None:
    """Return how long the source plays, in seconds; None if the source does not say or never ends.

    Raises:
        InvalidFieldError: As `read_frames`.
        UnavailableError: As `read_frames`.
        MissingExtraError: As `read_frames`.
    """
    if options.live:
        return None
    with open_source(options) as container:
        # Microseconds in FFmpeg's own time base.
        return None if container.duration is None else float(container.duration) / 1e6


def perceptual_hash(frame: Any) -> int:
    """Return 256 bits: of each of 16 x 16 places, whether it is darker than the next to its right.

    A difference hash: it does not change with brightness or compression.
    """
    plane = frame.reformat(width=_HASH_SIDE + 1, height=_HASH_SIDE, format="gray").planes[0]
    shades, stride = bytes(plane), plane.line_size
    bits = 0
    for row in range(_HASH_SIDE):
        line = shades[row * stride : row * stride + _HASH_SIDE + 1]
        for left, right in pairwise(line):
            bits = bits << 1 | (left < right)
    return bits


def _jpeg(frame: Any) -> bytes:
    image: Image.Image = frame.to_image()
    if frame.rotation:
        # A phone held upright stores a lying picture, and how to turn it (counterclockwise).
        image = image.rotate(frame.rotation, expand=True)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
