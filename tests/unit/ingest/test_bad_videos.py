"""Videos and cameras as they should not be: what can be read is read, at its own time."""

from __future__ import annotations

import errno
import io
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
from arno.errors import InvalidFieldError, UnavailableError
from arno.ingest.videos import frames, pictures
from arno.ingest.videos.frames import SampledFrame, read_frames, read_source
from arno.ingest.videos.pictures import SourceOptions
from PIL import Image
from support.clock import ManualClock
from support.videos import numbered_picture, read_number, write_video

RATE = 25
KEY_EVERY_5_WITH_REORDERING = {"g": "5", "bf": "2", "x264-params": "scenecut=0"}


def numbers(read: list[SampledFrame]) -> list[int]:
    return [read_number(picture(one)) for one in read]


def times_ms(read: list[SampledFrame]) -> list[int]:
    return [one.timestamp_ms for one in read]


def picture(frame: SampledFrame) -> Image.Image:
    return Image.open(io.BytesIO(frame.content))


def test_video_that_ends_in_the_middle_of_a_frame_is_read_up_to_there(tmp_path):
    whole = write_video(tmp_path / "whole.ts", duration_s=2, rate=RATE, codec="mpeg2video")
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    read = list(read_frames(SourceOptions(str(cut))))
    assert 20 < len(read) < 50
    assert numbers(read[:20]) == list(range(20))


def test_size_that_changes_and_timestamps_that_begin_again_lose_no_frame(tmp_path):
    parts = [
        write_video(
            tmp_path / f"{scale}.ts", duration_s=2, rate=RATE, codec="mpeg2video", scale=scale
        )
        for scale in (1, 2)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    read = list(read_frames(SourceOptions(str(joined), fps=5)))
    assert [picture(one).size for one in read] == [(320, 160)] * 10 + [(640, 320)] * 10
    # FFmpeg may lose the last frame before the change.
    wanted = [5 * n for n in range(10)] * 2
    assert all(abs(found - true) <= 1 for found, true in zip(numbers(read), wanted, strict=True))
    assert times_ms(read) == [200 * n for n in range(20)]


def test_frames_without_timestamps_are_as_far_apart_as_announced(tmp_path):
    # A bare stream of H.264 has no place for timestamps.
    bare = write_video(tmp_path / "bare.h264", duration_s=2, rate=RATE, codec="libx264")
    read = list(read_frames(SourceOptions(str(bare), fps=5)))
    assert times_ms(read) == [200 * n for n in range(10)]
    assert numbers(read) == [5 * n for n in range(10)]


def test_video_of_a_phone_held_upright_is_turned_upright(tmp_path):
    path = write_video(tmp_path / "phone.mp4", duration_s=1, rate=RATE)
    content = bytearray(path.read_bytes())
    # The track's matrix: 40 bytes after the box's name, 16.16 fixed point; a quarter turn.
    at = content.index(b"tkhd") + 4 + 40
    turn = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in turn)
    path.write_bytes(content)
    (read,) = read_frames(SourceOptions(str(path), frame_count_max=1))
    assert picture(read).size == (160, 320)
    # The bars that were above are at the right.
    assert read_number(picture(read).rotate(90, expand=True)) == 0


def test_camera_of_120_frames_a_second_is_sampled_at_the_rate_that_was_asked(tmp_path):
    fast = write_video(tmp_path / "fast.mp4", duration_s=2, rate=120)
    read = list(read_frames(SourceOptions(str(fast), fps=5)))
    assert times_ms(read) == [200 * n for n in range(10)]
    assert numbers(read) == [24 * n for n in range(10)]


def test_gap_in_a_video_stays_a_gap(tmp_path):
    path = tmp_path / "gap.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height = numbered_picture(0).size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, RATE)
        for number in (0, 1, 2, 250, 251):
            frame = av.VideoFrame.from_image(numbered_picture(number))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    read = list(read_frames(SourceOptions(str(path), fps=1)))
    assert (times_ms(read), numbers(read)) == ([0, 10_000], [0, 250])


def test_key_frames_alone_are_decoded_and_sampled_at_their_own_times(tmp_path):
    path = write_video(
        tmp_path / "keys.mp4",
        duration_s=4,
        rate=RATE,
        codec="libx264",
        options=KEY_EVERY_5_WITH_REORDERING,
    )
    read = list(read_frames(SourceOptions(str(path), key_frames=True)))
    assert numbers(read) == list(range(0, 100, 5))
    assert times_ms(read) == [200 * n for n in range(20)]
    sampled = list(read_frames(SourceOptions(str(path), fps=1, key_frames=True)))
    assert numbers(sampled) == [0, 25, 50, 75]


def test_key_frame_is_there_before_the_next_one_is_read(tmp_path):
    path = write_video(
        tmp_path / "keys.mp4",
        duration_s=2,
        rate=RATE,
        codec="libx264",
        options=KEY_EVERY_5_WITH_REORDERING,
    )
    asked = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        counted = SimpleNamespace(
            streams=container.streams,
            demux=lambda wanted: (asked.append(1) or packet for packet in container.demux(wanted)),
        )
        decoded = pictures._decoded(counted, stream, SourceOptions("x", key_frames=True))
        assert [next(decoded)[0], next(decoded)[0]] == [0, 5]
    assert len(asked) == 6


def test_source_without_key_frames_is_refused_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "_KEY_FRAMES_APART_MAX", 20)
    path = write_video(
        tmp_path / "none.mp4", duration_s=2, rate=RATE, codec="libx264", options={"g": "1000"}
    )
    with pytest.raises(InvalidFieldError, match="no key frame among 20 frames"):
        list(read_frames(SourceOptions(str(path), key_frames=True)))


def test_live_source_that_is_joined_between_key_frames_begins_at_the_next(monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "_LIVE_SCHEMES", (str(tmp_path),))
    options = {"g": "50", "bf": "0", "x264-params": "scenecut=0"}
    whole = write_video(
        tmp_path / "whole.ts", duration_s=4, rate=RATE, codec="libx264", options=options
    )
    packets = len(whole.read_bytes()) // 188
    late = tmp_path / "late.ts"
    late.write_bytes(whole.read_bytes()[188 * (packets // 8) :])
    read = list(read_frames(SourceOptions(str(late))))
    assert numbers(read) == list(range(50, 100))


def test_live_source_whose_first_second_tells_too_little_is_looked_at_again(monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "_LIVE_SCHEMES", (str(tmp_path),))
    path = write_video(tmp_path / "camera.ts", duration_s=1, rate=RATE, codec="mpeg2video")
    connect, probes, closed = pictures._connect, [], []

    def told_little(av, options, probe):
        probes.append(probe)
        if probe:
            return SimpleNamespace(
                streams=SimpleNamespace(video=[]), close=lambda: closed.append(1)
            )
        return connect(av, options, probe)

    monkeypatch.setattr(pictures, "_connect", told_little)
    assert len(list(read_frames(SourceOptions(str(path), fps=5)))) == 5
    assert (probes, closed) == ([pictures._LIVE_PROBE, {}], [1])


class StallingCamera:
    """Each connection gives some frames; then reading ends after the time-out, as FFmpeg's does."""

    def __init__(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.frames_left = [3, 0, 2]
        monkeypatch.setattr(frames, "read_frames", self._connect)

    def _connect(self, options, wait):
        for number in range(self.frames_left.pop(0)):
            self.clock.advance(1 / RATE)
            yield SampledFrame(number, number * 1000 // RATE, b"picture")
        self.clock.advance(pictures.READ_TIMEOUT_S)
        raise UnavailableError(f"source: {options.source} broke off ({errno.ETIMEDOUT})")

    def wait(self, pause_s: float) -> bool:
        self.clock.advance(pause_s)
        return not self.frames_left


def test_camera_that_stalls_for_half_a_minute_goes_on_with_the_time_that_passed(monkeypatch):
    camera = StallingCamera(ManualClock(), monkeypatch)
    source = SourceOptions("rtsp://camera/1")
    read = list(read_source(source, camera.wait, clock=camera.clock))
    assert [one.sequence for one in read] == [0, 1, 2, 3, 4]
    # It was silent for 20 s until the time-out, and for 20 s more after it was opened again.
    stalled_ms = read[3].timestamp_ms - read[2].timestamp_ms
    assert 40_000 <= stalled_ms <= 44_000
