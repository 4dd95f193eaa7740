"""Read a video file, a network stream or a camera as sampled JPEG frames."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from arno.errors import ArnoError, InvalidFieldError, MissingExtraError, UnavailableError
from arno.ingest.sampling import Sampler

if TYPE_CHECKING:
    from PIL import Image

_LIVE_SCHEMES: Final = ("rtsp://", "rtsps://", "rtmp://", "udp://", "srt://")
_CAMERA_PREFIX: Final = "/dev/video"
_CONNECT_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 20.0
_JPEG_QUALITY: Final = 90
"""Above it files grow faster than the answers improve; below it small text suffers."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How to read a source.

    Attributes:
        source: A file, a URL, or a camera such as /dev/video0.
        fps: Frames a second that are sent; None sends all.
        frame_count_max: Stop after so many sampled frames; None never.
        realtime: Read a file no faster than it plays.
    """

    source: str
    fps: float | None = None
    frame_count_max: int | None = None
    realtime: bool = False

    @property
    def live(self) -> bool:
        """Whether the source goes on for ever, so that its end is a fault to recover from."""
        return self.source.startswith((*_LIVE_SCHEMES, _CAMERA_PREFIX))


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """One frame that was taken.

    Attributes:
        sequence: 0, 1, 2, ... over the frames taken.
        timestamp_ms: Milliseconds after the source's first frame.
        content: The frame as a JPEG file, the right way up.
    """

    sequence: int
    timestamp_ms: int
    content: bytes


Wait = Callable[[float], bool]
"""Waits so many seconds, and says whether it was asked to stop meanwhile."""


def undisturbed(pause_s: float) -> bool:
    """Wait where nobody will ask to stop."""
    time.sleep(pause_s)
    return False


def read_frames(options: SourceOptions, wait: Wait = undisturbed) -> Iterator[SampledFrame]:
    """Yield the sampled frames of one connection to the source, until it ends or is stopped.

    Raises:
        InvalidFieldError: There is no such source, it is no video, or it has no video stream.
        UnavailableError: A live source does not answer, or breaks off.
        MissingExtraError: PyAV is not installed.
    """
    sampler = Sampler(options.fps)
    started_s = time.monotonic()
    sequence = 0
    with _open(options) as container:
        for picture in _pictures(container, options):
            if wait(0):
                return
            if not sampler.take(picture.time_s):
                continue
            early_s = started_s + float(picture.time_s) - time.monotonic()
            if options.realtime and early_s > 0 and wait(early_s):
                return
            yield SampledFrame(sequence, round(picture.time_s * 1000), _jpeg(picture.frame))
            sequence += 1
            if sequence == options.frame_count_max:
                return


def duration_s(options: SourceOptions) -> float | None:
    """Return how long the source plays, in seconds; None where it does not say or never ends.

    Raises:
        InvalidFieldError: As `read_frames`.
        UnavailableError: As `read_frames`.
        MissingExtraError: As `read_frames`.
    """
    if options.live:
        return None
    with _open(options) as container:
        # Microseconds in FFmpeg's own time base.
        return None if container.duration is None else float(container.duration) / 1e6


@dataclass(frozen=True, slots=True)
class _Picture:
    frame: Any
    time_s: Fraction


def _open(options: SourceOptions) -> AbstractContextManager[Any]:
    try:
        import av
    except ImportError as error:
        sentence = "video needs PyAV: pip install 'arno[ingest]'"
        raise MissingExtraError(sentence, extra="ingest") from error
    camera = "v4l2" if options.source.startswith(_CAMERA_PREFIX) else None
    settings = {"rtsp_transport": "tcp"} if options.source.startswith("rtsp") else {}
    try:
        container: AbstractContextManager[Any] = av.open(
            options.source,
            format=camera,
            options=settings,
            timeout=(_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S),
        )
    except (av.FFmpegError, OSError) as error:
        raise _cannot_open(options, error) from error
    return container


def _pictures(container: Any, options: SourceOptions) -> Iterator[_Picture]:
    import av

    if not container.streams.video:
        problem = "the file has no video stream"
        raise InvalidFieldError(field="source", problem=problem, sent=options.source)
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.base_rate or Fraction(25)
    first: Fraction | None = None
    decoded_count = 0
    try:
        for frame in container.decode(stream):
            # Some cameras give no timestamps; then the frames are as far apart as announced.
            known = frame.pts is not None and frame.time_base is not None
            at = frame.pts * frame.time_base if known else Fraction(decoded_count) / rate
            first = at if first is None else first
            decoded_count += 1
            yield _Picture(frame, max(Fraction(0), at - first))
    except (av.FFmpegError, OSError) as error:
        raise _broke_off(options, decoded_count, error) from error
    if not decoded_count:
        if options.live:
            raise UnavailableError(f"source: {options.source} ended before its first frame")
        problem = "the video stream holds no frame that can be decoded"
        raise InvalidFieldError(field="source", problem=problem, sent=options.source)


def _cannot_open(options: SourceOptions, error: Exception) -> ArnoError:
    said = getattr(error, "strerror", None) or str(error)
    if options.live:
        return UnavailableError(f"source: cannot open {options.source}: {said}")
    if isinstance(error, FileNotFoundError):
        problem = "no such file"
    else:
        problem = f"not a video that can be read ({said})"
    return InvalidFieldError(field="source", problem=problem, sent=options.source)


def _broke_off(options: SourceOptions, decoded_count: int, error: Exception) -> ArnoError:
    said = getattr(error, "strerror", None) or str(error)
    sentence = f"broke off after {decoded_count} frames ({said})"
    if options.live:
        return UnavailableError(f"source: {options.source} {sentence}")
    return InvalidFieldError(field="source", problem=sentence, sent=options.source)


def _jpeg(frame: Any) -> bytes:
    image: Image.Image = frame.to_image()
    if frame.rotation:
        # A phone held upright stores a lying picture, and how to turn it (counterclockwise).
        image = image.rotate(frame.rotation, expand=True)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
