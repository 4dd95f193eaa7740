"""Keep reading a live source that breaks off: connect again, with growing pauses."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from typing import Final

from arno.errors import UnavailableError
from arno.ingest.frames import SampledFrame, SourceOptions, Wait, read_frames

logger = logging.getLogger(__name__)

_PAUSE_S_MIN: Final = 0.5
_PAUSE_S_MAX: Final = 30.0


def read_source(options: SourceOptions, wait: Wait) -> Iterator[SampledFrame]:
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
    started_s = time.monotonic()
    sequence = 0
    pause_s = _PAUSE_S_MIN
    while not wait(0):
        offset_ms = round((time.monotonic() - started_s) * 1000) if sequence else 0
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
