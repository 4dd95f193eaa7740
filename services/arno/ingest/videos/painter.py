"""Write the sampled frames as a video, each with the regions that were found on itself.

A frame without an answer is left out: the one before stays on the screen, with its own regions.
So a viewer never sees regions of another moment, and times are those of the source.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self

from PIL import Image, ImageOps

from arno.client import FrameResult, InferResult
from arno.client.drawing import draw
from arno.errors import ConfigurationError, MissingExtraError

_MILLISECONDS: Final = Fraction(1, 1000)
_RATE: Final = 25
"""What the container says; the times of the frames are their own."""

# Each fragment is complete: what is written when the process dies can be played.
_CONTAINER: Final = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "frag_duration": "1000000",
    "flush_packets": "1",
}
_ENCODER: Final = {"preset": "veryfast", "crf": "23", "tune": "zerolatency"}
_KEY_EVERY: Final = 50


class VideoFile:
    """An MP4 file with H.264; opened at once, so that a bad path fails before the first frame."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ConfigurationError: It cannot be written.
            MissingExtraError: PyAV is not installed.
        """
        try:
            import av
        except ImportError as error:
            sentence = "video needs PyAV: pip install 'arno[ingest]'"
            raise MissingExtraError(sentence, extra="ingest") from error
        self._path = path
        self._faults = (av.FFmpegError, OSError)
        self._new_frame: Any = av.VideoFrame.from_image
        self._stream: Any = None
        self._last_ms = -1
        try:
            path.open("wb").close()
            self._container: Any = av.open(str(path), "w", format="mp4", options=_CONTAINER)
        except self._faults as error:
            raise self._cannot(error) from error

    def add(self, picture: bytes, result: FrameResult) -> None:
        """Write a frame with its regions, if it has an answer and its time is not over.

        Raises:
            ConfigurationError: The file cannot be written, for example because the disk is full.
        """
        if not picture or not isinstance(result.outcome, InferResult):
            return
        if result.timestamp_ms <= self._last_ms:
            return
        drawn = draw(picture, result.outcome.tasks)
        try:
            self._write(drawn, result.timestamp_ms)
        except self._faults as error:
            raise self._cannot(error) from error

    def close(self) -> None:
        """Finish the file. Idempotent.

        Raises:
            ConfigurationError: It cannot be finished.
        """
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self._stream is not None:
                container.mux(self._stream.encode())
            container.close()
        except self._faults as error:
            raise self._cannot(error) from error

    def _write(self, drawn: Image.Image, timestamp_ms: int) -> None:
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=_RATE, options=_ENCODER)
            # The encoder takes even sides only.
            self._stream.width = max(2, drawn.width // 2 * 2)
            self._stream.height = max(2, drawn.height // 2 * 2)
            self._stream.pix_fmt = "yuv420p"
            self._stream.gop_size = _KEY_EVERY
            self._stream.codec_context.time_base = _MILLISECONDS
        size = (self._stream.width, self._stream.height)
        if drawn.size != size:
            # A source that changes its size: the whole picture, with bars where it does not fit.
            drawn = ImageOps.pad(drawn, size)
        frame = self._new_frame(drawn)
        frame.pts, frame.time_base = timestamp_ms, _MILLISECONDS
        self._last_ms = timestamp_ms
        self._container.mux(self._stream.encode(frame))

    def _cannot(self, error: Exception) -> ConfigurationError:
        said = getattr(error, "strerror", None) or str(error)
        return ConfigurationError(f"video {self._path}: cannot be written: {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
