import io

import pytest
from arno.client.drawing import colour_of, draw, draw_regions
from arno.errors import InvalidImageError
from arno.vocabulary import Box, Point, Polygon, QuadBox, Region
from arno.vocabulary.wire_results import infer_result
from PIL import Image
from support.answers import detection, failure, region, response

GREY = (128, 128, 128)


def canvas(width=200, height=160):
    return Image.new("RGB", (width, height), GREY)


def test_box_is_outlined_in_the_colour_of_its_label():
    drawn = draw_regions(canvas(), [Region("cat", Box(40, 60, 120, 140))])
    assert drawn.getpixel((40, 100)) == colour_of("cat")
    assert drawn.getpixel((80, 100)) == GREY


def test_polygon_is_filled_so_that_the_image_shows_through():
    square = Polygon((Point(20, 20), Point(180, 20), Point(180, 140), Point(20, 140)))
    inside = draw_regions(canvas(), [Region("", (square,))]).getpixel((100, 80))
    assert inside not in (GREY, colour_of(""))


def test_quad_box_is_outlined():
    quad = QuadBox((Point(20, 60), Point(120, 60), Point(120, 140), Point(20, 140)))
    assert draw_regions(canvas(), [Region("text", quad)]).getpixel((20, 100)) == colour_of("text")


def test_equal_labels_have_equal_colours_and_others_differ():
    assert colour_of("Cat ") == colour_of("cat")
    assert colour_of("cat") != colour_of("dog")


def test_original_stays_as_it_is():
    image = canvas()
    draw_regions(image, [Region("cat", Box(10, 10, 100, 100))])
    assert image.getpixel((10, 50)) == GREY


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(Box(100, 90, 20, 10), id="inverted"),
        pytest.param(Box(-50, -50, 400, 400), id="larger than the image"),
        pytest.param(Box(199, 159, 200, 160), id="in the corner"),
        pytest.param((), id="no polygon at all"),
        pytest.param((Polygon((Point(1, 1),)),), id="one point"),
    ],
)
def test_odd_shapes_are_drawn_without_a_fault(shape):
    drawn = draw_regions(canvas(), [Region("label " * 30, shape, score=0.5)])
    assert drawn.size == (200, 160)


def test_tasks_without_an_answer_are_left_out():
    result = infer_result(
        response(failure("ENGINE_FAILED", "x"), detection(region("a", 9, 9, 99, 99)))
    )
    assert draw(canvas(), result).getpixel((9, 50)) == colour_of("a")


def test_image_is_drawn_the_way_a_viewer_shows_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    canvas(200, 100).save(stored, "JPEG", exif=exif)
    assert draw_regions(stored.getvalue(), []).size == (100, 200)


def test_file_is_drawn_as_the_server_decodes_it():
    stored = io.BytesIO()
    Image.new("I;16", (20, 10), 0x8080).save(stored, "PNG")
    assert draw_regions(stored.getvalue(), []).getpixel((0, 0)) == GREY


def test_bytes_that_are_no_image_are_refused():
    with pytest.raises(InvalidImageError, match="not an image"):
        draw_regions(b"no image", [])
