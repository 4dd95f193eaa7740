"""The annotated video: each picture with its own regions, at its own time."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest
from arno.client.drawing import colour_of
from arno.errors import ConfigurationError, UnavailableError
from arno.ingest.videos.frames import read_frames
from arno.ingest.videos.painter import VideoFile
from arno.ingest.videos.pictures import SourceOptions
from PIL import Image
from support.answered import answered_frame, dropped_frame, failed_frame
from support.builders import box
from support.videos import numbered_picture, read_number, write_video

TIMES_MS = [0, 40, 1000, 1033, 7000]


def jpeg(number: int, size: tuple[int, int] | None = None) -> bytes:
    picture = numbered_picture(number)
    file = io.BytesIO()
    (picture if size is None else picture.resize(size)).save(file, "JPEG", quality=95)
    return file.getvalue()


def frames_of(path) -> list[tuple[int, Image.Image]]:
    with av.open(str(path)) as container:
        return [(round(1000 * frame.time), frame.to_image()) for frame in container.decode(video=0)]


def left_of(number: int) -> int:
    return 20 + 40 * number


def test_each_picture_has_its_own_region_at_its_own_time(tmp_path):
    path = tmp_path / "seen.mp4"
    with VideoFile(path) as video:
        for number, at_ms in enumerate(TIMES_MS):
            region = box("", left_of(number), 90, left_of(number) + 30, 150, score=None)
            video.add(jpeg(number), answered_frame(number, at_ms, region))
    found = frames_of(path)
    assert [at_ms for at_ms, _ in found] == TIMES_MS
    for number, (_, picture) in enumerate(found):
        assert read_number(picture) == number
        for other in range(len(TIMES_MS)):
            shade = picture.getpixel((left_of(other), 120))
            near = all(abs(a - b) < 70 for a, b in zip(shade, colour_of(""), strict=True))
            assert near == (other == number)


def test_frames_without_an_answer_or_picture_are_left_out(tmp_path):
    path = tmp_path / "seen.mp4"
    with VideoFile(path) as video:
        video.add(jpeg(0), answered_frame(0, 0))
        video.add(jpeg(1), dropped_frame(1, 40))
        video.add(jpeg(2), failed_frame(2, 80, UnavailableError("away")))
        video.add(b"", answered_frame(3, 120))
        video.add(jpeg(4), answered_frame(4, 160))
        video.add(jpeg(5), answered_frame(5, 160))
    assert [(at, read_number(picture)) for at, picture in frames_of(path)] == [(0, 0), (160, 4)]


def test_picture_of_another_size_is_shown_whole(tmp_path):
    path = tmp_path / "seen.mp4"
    with VideoFile(path) as video:
        video.add(jpeg(5, (321, 161)), answered_frame(0, 0))
        video.add(jpeg(9, (640, 320)), answered_frame(1, 40))
    found = [picture for _, picture in frames_of(path)]
    assert {picture.size for picture in found} == {(320, 160)}
    assert [read_number(picture) for picture in found] == [5, 9]


def test_what_was_written_can_be_played_although_the_file_was_never_finished(tmp_path):
    path = tmp_path / "seen.mp4"
    video = VideoFile(path)
    for number in range(120):
        video.add(jpeg(number), answered_frame(number, 40 * number))
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())
    video.close()
    assert len(frames_of(copy)) >= 50


def test_path_that_cannot_be_written_is_told_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match=r"seen.mp4: cannot be written: No such file"):
        VideoFile(tmp_path / "none" / "seen.mp4")


def test_full_disk_is_told():
    def paint():
        with VideoFile(Path("/dev/full")) as video:
            for number in range(500):
                video.add(jpeg(number), answered_frame(number, 40 * number))

    with pytest.raises(ConfigurationError, match=r"/dev/full: cannot be written: No space left"):
        paint()


def test_hash_changes_with_the_picture_and_not_with_compression(tmp_path):
    path = write_video(tmp_path / "numbers.mp4", duration_s=2, rate=10)
    options = SourceOptions(str(path), hashed=True)
    hashes = [frame.hash for frame in read_frames(options)]
    still = tmp_path / "still.mp4"
    with VideoFile(still) as video:
        for number in range(10):
            video.add(jpeg(700), answered_frame(number, 40 * number))
    same = [frame.hash for frame in read_frames(SourceOptions(str(still), hashed=True))]
    assert max((one ^ same[0]).bit_count() for one in same) <= 4
    assert all((one ^ same[0]).bit_count() > 12 for one in hashes)
