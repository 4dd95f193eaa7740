"""Open a source with PyAV and decode it: its pictures, each with its time after the first.

What is sampled of them, and what happens where a live source breaks off, is in `frames`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from arno.errors import ArnoError, InvalidFieldError, MissingExtraError, UnavailableError

_LIVE_SCHEMES: Final = ("rtsp://", "rtsps://", "rtmp://", "udp://", "srt://")
_CAMERA_PREFIX: Final = "/dev/video"
CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 20.0

_LIVE_PROBE: Final = {"fpsprobesize": "0", "analyzeduration": "1000000"}
"""A live source is looked at for a second, not 5, and no frames are counted for its rate, which
takes 20: 4 s of a camera of 5 frames/s. Its frames have timestamps of their own."""

_RATE: Final = Fraction(25)
"""Of a source that announces none."""

_BEGINS_AGAIN_S: Final = 1
"""Timestamps that go back by more begin again; by less, frames are out of order."""

_KEY_FRAMES_APART_MAX: Final = 1500
"""A minute at 25 frames/s. Some cameras refresh their picture bit by bit, and send none at all."""

_SPOILT_MAX: Final = 1500
"""Packets of a live source that cannot be decoded, one after the other: likewise a minute."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How to read a source.

    Attributes:
        source: A file, a URL, or a camera such as /dev/video0.
        fps: Frames per second to send; None sends all.
        frame_count_max: Number of sampled frames after which to stop; None is no limit.
        realtime: Read a file no faster than it plays.
        hashed: Give each frame its perceptual hash.
        key_frames: Decode key frames alone, and sample among them.
        begin: Number of the first sampled frame that is yielded; those before it are left out.
    """

    source: str
    fps: float | None = None
    frame_count_max: int | None = None
    realtime: bool = False
    hashed: bool = False
    key_frames: bool = False
    begin: int = 0

    @property
    def live(self) -> bool:
        """Whether the source goes on for ever, so that its end is an error to recover from."""
        return self.source.startswith((*_LIVE_SCHEMES, _CAMERA_PREFIX))


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        frame: PyAV's frame.
        time_s: Seconds after the source's first frame.
    """

    frame: Any
    time_s: Fraction


def open_source(options: SourceOptions) -> AbstractContextManager[Any]:
    """Connect to a source; return its container, which closes it.

    Raises:
        InvalidFieldError: There is no such source, or it is no video.
        UnavailableError: A live source does not answer.
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        sentence = "video needs PyAV: pip install 'arno[ingest]'"
        raise MissingExtraError(sentence, extra="ingest") from error
    try:
        container = _connect(av, options, _LIVE_PROBE if options.live else {})
        if options.live and not _has_known_video(container):
            # Its first second told too little: it is looked at for as long as FFmpeg sees fit.
            container.close()
            container = _connect(av, options, {})
    except (av.FFmpegError, OSError) as error:
        raise _cannot_open(options, error) from error
    opened: AbstractContextManager[Any] = container
    return opened


def _connect(av: Any, options: SourceOptions, probe: Mapping[str, str]) -> Any:
    transport = {"rtsp_transport": "tcp"} if options.source.startswith("rtsp") else {}
    return av.open(
        options.source,
        format="v4l2" if options.source.startswith(_CAMERA_PREFIX) else None,
        options={**transport, **probe},
        timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
    )


def _has_known_video(container: Any) -> bool:
    """Return whether there is a video stream whose codec is known; its size may come later."""
    streams = container.streams.video
    return bool(streams) and streams[0].codec_context is not None


def pictures(container: Any, options: SourceOptions) -> Iterator[Picture]:
    """Yield the pictures of an open source until it ends.

    Raises:
        InvalidFieldError: It has no video stream, or breaks off.
        UnavailableError: A live source breaks off.
    """
    import av

    if not container.streams.video:
        problem = "the file has no video stream"
        raise InvalidFieldError(field="source", problem=problem, sent=options.source)
    stream = container.streams.video[0]
    # Of a live source this is a guess from no frames: see _LIVE_PROBE.
    least = None if options.live else stream.base_rate
    times = _Times(stream.average_rate or least or _RATE)
    decoded_count = 0
    try:
        for number, frame in _decoded(container, stream, options):
            decoded_count += 1
            yield Picture(frame, times.of(frame, number))
    except (av.FFmpegError, OSError) as error:
        raise _broke_off(options, decoded_count, error) from error
    if not decoded_count:
        if options.live:
            raise UnavailableError(f"source: {options.source} ended before its first frame")
        problem = "the video stream holds no frame that can be decoded"
        raise InvalidFieldError(field="source", problem=problem, sent=options.source)


def _decoded(container: Any, stream: Any, options: SourceOptions) -> Iterator[tuple[int, Any]]:
    """Yield the frames that are decoded, each with its number among all frames."""
    if not options.key_frames:
        stream.thread_type = "AUTO"
        yield from enumerate(_all_frames(container, stream, options))
        return
    # Several threads decode as many frames at once, so that each key frame would wait for others.
    stream.thread_type = "SLICE"
    decoder = stream.codec_context
    left_out = 0
    for number, packet in enumerate(container.demux(stream)):
        if not packet.size:
            # The end: nothing is held back.
            return
        if not packet.is_keyframe:
            left_out += 1
            if left_out > _KEY_FRAMES_APART_MAX:
                raise _without_key_frames(options)
            continue
        left_out = 0
        # Flushed, or the decoder would wait for frames that may have to be shown before.
        for frame in (*decoder.decode(packet), *decoder.decode(None)):
            yield number, frame
        decoder.flush_buffers()


def _all_frames(container: Any, stream: Any, options: SourceOptions) -> Iterator[Any]:
    """Yield all frames; a live source loses what it was joined too late for, and spoilt packets."""
    import av

    spoilt = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            spoilt += 1
            if not options.live or spoilt > _SPOILT_MAX:
                raise
            continue
        spoilt = 0
        yield from frames


class _Times:
    """Gives each frame its time after the first, whatever its timestamps are like.

    Frames without timestamps, which some cameras send, are as far apart as announced. Where
    timestamps begin again, because a camera was restarted or two files were joined, time goes on.
    """

    def __init__(self, rate: Fraction) -> None:
        self._rate = rate
        self._origin: Fraction | None = None
        self._last = Fraction(0)
        self._number: int | None = None

    def of(self, frame: Any, number: int) -> Fraction:
        """Return the time of the next frame, in seconds; never less than the one before."""
        apart = 0 if self._number is None else number - self._number
        expected = self._last + Fraction(apart) / self._rate
        time_s = expected
        if frame.pts is not None and frame.time_base is not None:
            at = frame.pts * frame.time_base
            if self._origin is None or at - self._origin < self._last - _BEGINS_AGAIN_S:
                self._origin = at - expected
            time_s = at - self._origin
        self._last, self._number = max(self._last, time_s), number
        return self._last


def _cannot_open(options: SourceOptions, error: Exception) -> ArnoError:
    said = getattr(error, "strerror", None) or str(error)
    if options.live:
        return UnavailableError(f"source: cannot open {options.source}: {said}")
    if isinstance(error, FileNotFoundError):
        problem = "no such file"
    else:
        problem = f"not a video that can be read ({said})"
    return InvalidFieldError(field="source", problem=problem, sent=options.source)


def _without_key_frames(options: SourceOptions) -> ArnoError:
    sentence = (
        f"no key frame among {_KEY_FRAMES_APART_MAX} frames of {options.source}; leave key_frames "
        "out, or let the camera send key frames more often"
    )
    if options.live:
        return UnavailableError(f"source: {sentence}")
    return InvalidFieldError(field="key_frames", problem=sentence)


def _broke_off(options: SourceOptions, decoded_count: int, error: Exception) -> ArnoError:
    said = getattr(error, "strerror", None) or str(error)
    sentence = f"broke off after {decoded_count} frames ({said})"
    if options.live:
        return UnavailableError(f"source: {options.source} {sentence}")
    return InvalidFieldError(field="source", problem=sentence, sent=options.source)
