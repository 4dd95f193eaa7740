"""Objects that are followed over frames, with the real trackers."""

from __future__ import annotations

import pytest
from arno.errors import InvalidFieldError
from arno.ingest.videos.tracking import Place, Tracking, Watch, place_of
from arno.vocabulary import Task
from support.answered import answered_frame
from support.builders import box

SIZE_PX, STEP_PX, STEP_MS = 60, 15, 200


def walk(tracking: Tracking, *positions: dict[str, tuple[float, float]], task: Task = Task.OD):
    """Observe frames in which named objects have their upper left corners at these places."""
    for number, places in enumerate(positions):
        regions = [
            box(name, x, y, x + SIZE_PX, y + SIZE_PX, score=0.9) for name, (x, y) in places.items()
        ]
        yield tracking.observe(answered_frame(number, number * STEP_MS, *regions, task=task))


def kinds(seen) -> list[tuple[str, int]]:
    return [(event["kind"], event["track"]) for one in seen for event in one.events]


def test_objects_keep_their_ids_while_they_cross():
    ways = [{"cat": (STEP_PX * n, 100), "dog": (600 - STEP_PX * n, 130)} for n in range(40)]
    seen = list(walk(Tracking(Watch()), *ways))
    ids = [[track["id"] for track in sorted(one.tracks, key=lambda t: t["region"])] for one in seen]
    # An object has a track once it was seen twice.
    assert ids[0] == []
    assert {tuple(pair) for pair in ids[1:]} == {(ids[1][0], ids[1][1])}
    assert kinds(seen) == [("appeared", ids[1][0]), ("appeared", ids[1][1])]


def test_object_that_hides_another_does_not_get_its_track():
    ways = [{"cat": (STEP_PX * n, 100), "dog": (600 - STEP_PX * n, 100)} for n in range(40)]
    for hidden in ways[17:24]:
        del hidden["dog"]
    seen = list(walk(Tracking(Watch()), *ways))
    assert [kind for kind, _ in kinds(seen)] == ["appeared", "appeared"]


def test_object_of_another_label_in_the_same_place_is_another_object():
    seen = list(walk(Tracking(Watch()), *[{"cat": (9, 9)}] * 3, *[{"dog": (9, 9)}] * 3))
    events = [event for one in seen for event in one.events]
    assert [(one["track"], one["label"]) for one in events] == [(0, "cat"), (1, "dog")]


def test_labels_that_are_sentences_do_not_break_tracks():
    ways = [{f"a cat, seen {n} times": (STEP_PX * n, 100)} for n in range(5)]
    seen = list(walk(Tracking(Watch()), *ways, task=Task.DENSE_REGION_CAPTION))
    assert [kind for kind, _ in kinds(seen)] == ["appeared"]


def test_labels_that_are_gone_leave_nothing_behind():
    tracking = Tracking(Watch(lost_s=1.0))
    list(walk(tracking, *[{f"thing {n // 3}": (9, 9)} for n in range(90)]))
    assert len(tracking._followers._trackers) < 5
    assert len(tracking._seen) < 5


def test_object_that_is_not_seen_for_a_while_has_left_and_comes_back_as_another():
    here, away = [{"cat": (100, 100)}], [{}]
    seen = list(walk(Tracking(Watch(lost_s=1.0)), *(here * 3 + away * 8 + here * 2)))
    (_, first), (_, left), (_, second) = kinds(seen)
    assert [kind for kind, _ in kinds(seen)] == ["appeared", "left", "appeared"]
    assert (left, first != second) == (first, True)
    assert [
        event["last_seen_ms"] for one in seen for event in one.events if event["kind"] == "left"
    ] == [400]


def test_object_that_is_missed_for_a_moment_keeps_its_id():
    here, away = [{"cat": (100, 100)}], [{}]
    seen = list(walk(Tracking(Watch(lost_s=2.0)), *(here * 3 + away * 3 + here * 3)))
    assert [kind for kind, _ in kinds(seen)] == ["appeared"]


def test_line_is_crossed_once_in_each_direction():
    there = [{"car": (STEP_PX * n, 100)} for n in range(20)]
    watch = Watch(lines=(Place("gate", ((150, 0), (150, 400))),))
    seen = list(walk(Tracking(watch), *there, *reversed(there)))
    crossed = [e for one in seen for e in one.events if e["kind"] == "crossed"]
    assert [event["line"] for event in crossed] == ["gate", "gate"]
    assert {event["direction"] for event in crossed} == {"in", "out"}


def test_line_that_is_passed_behind_something_is_crossed():
    ways = [{"car": (STEP_PX * n, 100)} for n in range(20)]
    for hidden in ways[6:11]:
        hidden.clear()
    watch = Watch(lines=(Place("gate", ((150, 0), (150, 400))),))
    crossed = [e for one in walk(Tracking(watch), *ways) for e in one.events if "line" in e]
    assert [(event["kind"], event["track"]) for event in crossed] == [("crossed", 0)]


def test_zone_is_entered_and_exited():
    zone = Place("yard", ((100, 50), (250, 50), (250, 250), (100, 250)))
    way = [{"car": (STEP_PX * n, 100)} for n in range(25)]
    seen = list(walk(Tracking(Watch(zones=(zone,))), *way))
    assert [kind for kind, _ in kinds(seen)] == ["appeared", "entered", "exited"]


def test_frame_without_regions_is_no_fault():
    assert list(walk(Tracking(Watch()), {}, {}))[1].tracks == []


@pytest.mark.parametrize(
    ("written", "line", "said"),
    [
        ("gate", True, "NAME="),
        ("gate=1,2,3", True, "NAME="),
        ("=1,2,3,4", True, "NAME="),
        ("yard=1,2,3,4", False, "NAME="),
        ("yard=1,2,3,4,5,x", False, "NAME="),
        ("gate=1,2,1,2", True, "begins where it ends"),
        ("gate=1,2,nan,4", True, "pixels from -8192 to 8192"),
        ("yard=0,0,1000000,0,1000000,1000000", False, "pixels from -8192 to 8192"),
    ],
)
def test_place_of_another_form_is_refused_with_the_form(written, line, said):
    with pytest.raises(InvalidFieldError, match=said):
        place_of(written, field="--line", line=line)
