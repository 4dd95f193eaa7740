import pytest
from arno.bulk import BatchCounts
from arno.cli.batch_progress import BatchProgress, Pace, duration
from arno.cli.main import root
from arno.cli.terminal import SafeConsole
from arno.errors import ArnoError


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["absent"], "SOURCE: no such file or folder"),
        (["."], "SOURCE: holds no pictures"),
        ([".", "--fps", "2"], "--fps: only a video has frames"),
        ([".", "--task", "NONE"], "task"),
    ],
)
def test_wrong_command_ends_with_a_sentence_and_makes_no_folder(
    tmp_path, monkeypatch, words, sentence
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArnoError, match=sentence):
        root.main(["batch", *words, "--out", "seen"], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_pace_is_that_of_the_last_half_minute():
    pace = Pace(100.0)
    for second in range(1, 61):
        pace.note(100.0 + second, second * 10)
    assert pace.per_s == pytest.approx(10)
    for second in range(61, 121):
        pace.note(100.0 + second, 600 + (second - 60) * 2)
    assert pace.per_s == pytest.approx(2)


def test_pace_without_time_is_nothing():
    pace = Pace(100.0)
    pace.note(100.0, 5)
    assert pace.per_s == 0


def test_progress_says_how_far_it_is_and_how_long_it_will_take():
    progress = BatchProgress(SafeConsole(stderr=True), 2_000)
    progress.show(BatchCounts(answered=400, failed=10, known=590))
    progress._pace.per_s = 2.0
    assert progress.said() == "1,000 of 2,000 images, 2.0/s, 8 min left, 10 failed"


def test_progress_of_unknown_length_says_no_end():
    progress = BatchProgress(SafeConsole(stderr=True), None)
    progress.show(BatchCounts(answered=3))
    progress._pace.per_s = 2.0
    assert progress.said() == "3 images, 2.0/s"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (119, "119 s"), (420, "7 min"), (12_000, "3 h 20 min")]
)
def test_duration_is_written_as_people_read_it(seconds, said):
    assert duration(seconds) == said
