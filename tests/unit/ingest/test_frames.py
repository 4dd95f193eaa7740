import io
import wave
from fractions import Fraction
from types import SimpleNamespace

import pytest
from arno.errors import InvalidFieldError, UnavailableError
from arno.ingest.videos.frames import duration_s, read_frames
from arno.ingest.videos.pictures import SourceOptions, pictures
from PIL import Image
from support.videos import read_number, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", duration_s=2, rate=25)


def test_sampled_frames_carry_the_picture_of_their_time(video):
    frames = list(read_frames(SourceOptions(str(video), fps=5)))
    assert [frame.timestamp_ms for frame in frames] == [n * 200 for n in range(10)]
    assert [frame.sequence for frame in frames] == list(range(10))
    shown = [read_number(Image.open(io.BytesIO(frame.content))) for frame in frames]
    assert shown == [n * 5 for n in range(10)]


def test_reading_ends_at_the_frame_limit(video):
    assert len(list(read_frames(SourceOptions(str(video), fps=5, frame_count_max=3)))) == 3


def test_reading_ends_when_stopped(video):
    read = []
    for frame in read_frames(SourceOptions(str(video)), lambda pause_s: len(read) >= 4):
        read.append(frame)
    assert len(read) == 4


def test_file_read_as_it_plays_ends_while_it_waits_for_the_next_frame(video):
    waits = []

    def wait(pause_s):
        waits.append(pause_s)
        return pause_s > 0

    read = list(read_frames(SourceOptions(str(video), fps=1, realtime=True), wait))
    assert [frame.timestamp_ms for frame in read] == [0]
    assert 0 < waits[-1] <= 1


def test_duration_of_a_file_is_known(video):
    assert duration_s(SourceOptions(str(video))) == pytest.approx(2.0, abs=0.05)


def test_file_that_is_no_video_is_named(tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("no video at all\n" * 100)
    with pytest.raises(InvalidFieldError, match=r"not a video that can be read.*notes\.mp4"):
        list(read_frames(SourceOptions(str(text))))


def test_missing_file_is_named():
    with pytest.raises(InvalidFieldError, match=r"source: no such file; sent: absent\.mp4"):
        list(read_frames(SourceOptions("absent.mp4")))


def test_sound_without_pictures_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 800)
    with pytest.raises(InvalidFieldError, match="no video stream"):
        list(read_frames(SourceOptions(str(path))))


def test_live_source_that_ends_before_its_first_frame_may_be_tried_again():
    stream = SimpleNamespace(average_rate=Fraction(25), base_rate=None)
    container = SimpleNamespace(
        streams=SimpleNamespace(video=[stream]), demux=lambda stream: iter(())
    )
    with pytest.raises(UnavailableError, match="ended before its first frame"):
        list(pictures(container, SourceOptions("rtsp://camera/1")))


def test_live_source_that_does_not_answer_may_be_tried_again():
    with pytest.raises(UnavailableError, match=r"cannot open rtsp://127\.0\.0\.1:9/x"):
        list(read_frames(SourceOptions("rtsp://127.0.0.1:9/x")))
