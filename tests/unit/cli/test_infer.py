from pathlib import Path

from arno.cli.infer import _AHEAD, _ask
from arno.errors import UnavailableError

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
