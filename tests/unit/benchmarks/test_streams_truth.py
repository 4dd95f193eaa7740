"""Boxes that are told, painted and followed, against the truth of a rendered scene."""

from __future__ import annotations

import pytest
from arno.client.drawing import colour_of, draw_regions
from arno.training.world.sprites import FONT_PATH
from arno.vocabulary import Box
from support.availability import require
from support.builders import box

from benchmarks.streams.page import text_of
from benchmarks.streams.scenes import PERIOD_S, alone, crossing
from benchmarks.streams.truth import boxes_of, iou, outline, painted_iou, told_iou, track_figures

FPS = 10


@pytest.fixture(autouse=True)
def _font() -> None:
    require(FONT_PATH.exists(), "needs the font of apt-get install fonts-noto-color-emoji")


def line(number: int, boxes: list[Box], ids: list[int] | None = None) -> dict[str, object]:
    regions = [
        {"label": "car", "box": {side: getattr(one, side) for side in ("x0", "y0", "x1", "y1")}}
        for one in boxes
    ]
    tracks = [{"id": track, "task": "0", "region": index} for index, track in enumerate(ids or ())]
    results = [{"answer": {"detection": {"regions": regions}}}]
    at_ms = number * 1000 // FPS
    return {"sequence": number, "timestamp_ms": at_ms, "results": results, "tracks": tracks}


def test_overlap_of_boxes():
    assert iou(Box(0, 0, 10, 10), Box(0, 0, 10, 10)) == 1
    assert iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou(Box(0, 0, 10, 10), Box(20, 20, 30, 30)) == 0


def test_zeros_that_protobuf_leaves_out_are_read():
    regions = [{"label": "a", "box": {"x1": 5.0, "y1": 6.0}}, {"label": "without a box"}]
    told = {"results": [{"answer": {"detection": {"regions": regions}}}]}
    assert boxes_of(told) == [("a", Box(0, 0, 5, 6))]
    assert boxes_of({"dropped": True}) == []


def test_boxes_of_their_own_frames_are_true_and_those_of_others_are_not():
    film = alone("car")
    own = [line(n, list(film.truth(n / FPS).values())) for n in range(50)]
    late = [line(n, list(film.truth((n + 30) / FPS).values())) for n in range(50)]
    assert min(told_iou(film, own)) == pytest.approx(1)
    assert sum(told_iou(film, late)) / 50 < 0.5
    assert told_iou(film, [{"sequence": 0, "timestamp_ms": 0, "dropped": True}]) == []


@pytest.mark.parametrize("second", [0.0, 3.3, 7.0, 10.0])
def test_painted_box_is_read_from_the_pixels(second):
    film = alone("cat")
    (true,) = film.truth(second).values()
    region = box("cat", true.x0, true.y0, true.x1, true.y1, score=0.93)
    found = outline(draw_regions(film.picture(second), [region]), colour_of("cat"))
    assert found is not None
    assert iou(true, found) > 0.9
    assert outline(film.picture(second), colour_of("cat")) is None


def test_tracks_that_keep_their_ids_score_one_and_those_that_swap_do_not():
    film = crossing()
    truth = [list(film.truth(n / FPS).values()) for n in range(100)]
    kept = [line(n, boxes, [0, 1, 2, 3]) for n, boxes in enumerate(truth)]
    swapped = [
        line(n, boxes, [0, 1, 2, 3] if n < 50 else [1, 0, 2, 3]) for n, boxes in enumerate(truth)
    ]
    figures = track_figures(film, kept)
    assert (figures["idf1"], figures["hota"], figures["switches"]) == (1, pytest.approx(1), 0)
    worse = track_figures(film, swapped)
    assert worse["idf1"] == pytest.approx(0.75)
    assert worse["switches"] == 2


def test_film_repeats_itself_and_its_objects_stay_in_the_picture():
    film = crossing()
    assert film.truth(3.0) == film.truth(3.0 + PERIOD_S)
    for second in range(int(PERIOD_S)):
        for one in film.truth(second).values():
            assert 0 <= one.x0 < one.x1 <= film.size_px[0]
            assert 0 <= one.y0 < one.y1 <= film.size_px[1]


def test_picture_without_a_painted_box_counts_as_wrong(tmp_path):
    film = alone("cat")
    path = film.write(tmp_path / "cat.mp4", seconds=PERIOD_S + 1)
    assert painted_iou(film, path, "cat") == [0.0] * int((PERIOD_S + 1) * film.rate)


def test_page_has_a_section_for_what_was_measured_and_no_other():
    machine = {"load_average": [1.5], "core_count": 2, "processor": "CPU", "commit": "abc"}
    painting = {"pictures": 250, "per_core_s": 31.2, "cpu_ms": 32.0, "aims": {"painted_per_s": 25}}
    page = text_of({"streams-painting": {"machine": machine, **painting}})
    assert "## Annotated video" in page
    assert "| 250 | 31 | 32.0 |" in page
    assert "load 1.5 at the beginning, commit abc" in page
    assert page.count("## ") == 1
