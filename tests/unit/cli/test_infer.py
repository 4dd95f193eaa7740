from pathlib import Path

import pytest
from arno.cli.infer import _AHEAD, _ask, _Target
from arno.errors import ConfigurationError, UnavailableError
from PIL import Image

PATHS = [Path(f"{number}.png") for number in range(100)]


class Away:
    def infer(self, path, *tasks):
        raise UnavailableError("away")


def test_outcomes_come_in_the_order_of_the_images():
    assert [asked.path for asked in _ask(Away(), PATHS, [], parallel=4)] == PATHS


def test_images_are_not_asked_about_far_ahead_of_what_is_shown():
    pulled = []
    outcomes = _ask(Away(), (pulled.append(path) or path for path in PATHS), [], parallel=2)
    assert next(outcomes).path == PATHS[0]
    assert len(pulled) == 2 * _AHEAD + 1
    outcomes.close()


@pytest.mark.parametrize("kind", ["jpg", "webp", "gif"])
def test_picture_wider_than_a_format_can_be_is_told_in_a_sentence(tmp_path, kind):
    Image.new("1", (70_000, 2)).save(tmp_path / "wide.png")
    target = _Target.of(tmp_path / f"seen.{kind}", 1)
    with pytest.raises(ConfigurationError, match=rf"--draw .*seen\.{kind}: "):
        target.save(tmp_path / "wide.png", [])
