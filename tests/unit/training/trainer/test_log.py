"""The log of a run outlasts kills, and is drawn."""

from __future__ import annotations

from arno.training.trainer.log import Log, LoggedStep
from PIL import Image


def logged(step: int, **measured: float) -> LoggedStep:
    return LoggedStep(step, 3.0 / step, 1e-3, 0.5, 20.0, measured)


def test_steps_after_the_checkpoint_are_dropped_with_half_a_line(tmp_path):
    log = Log(tmp_path, 0)
    for step in (1, 2, 3):
        log.append(logged(step))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    again = Log(tmp_path, 2)
    again.append(logged(3))
    assert [step.step for step in Log(tmp_path, 9).steps] == [1, 2, 3]


def test_curve_is_a_picture(tmp_path):
    log = Log(tmp_path, 0)
    log.append(logged(1))
    log.append(logged(2, validation_loss=2.0))
    log.draw()
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.format == "PNG"


def test_line_of_several_steps_holds_their_means(tmp_path):
    log = Log(tmp_path, 0, every=2)
    assert log.append(logged(1, grid=1.0)) is None
    written = log.append(logged(2, grid=2.0, score=0.5))
    assert written == LoggedStep(2, 2.25, 1e-3, 0.5, 20.0, {"grid": 1.5, "score": 0.5})
    assert Log(tmp_path, 9).steps == [written]
