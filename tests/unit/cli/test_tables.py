import io

from arno.cli.tables import print_result
from arno.vocabulary.wire_results import infer_result
from rich.console import Console
from support.answers import caption, detection, failure, region, response


def printed(*results, width=100):
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    print_result(console, "photo[1].jpg", infer_result(response(*results)))
    return out.getvalue()


def test_table_names_label_place_score_and_end():
    said = printed(detection(region("cat", 1, 2, 30, 40, score=0.876)), caption("a cat sits"))
    assert "photo[1].jpg 200 x 100 image/png" in said
    assert "cat" in said
    assert "1,2,30,40" in said
    assert "0.88" in said
    assert "a cat sits" in said
    assert "length" in said
    assert "encode 40 ms" in said
    assert "arno-tiny" in said


def test_failed_task_stands_in_its_row():
    said = printed(detection(region("cat", 1, 2, 3, 4)), failure("ENGINE_FAILED", "broke"))
    assert "cat" in said
    assert "ENGINE_FAILED: broke" in said


def test_empty_detection_says_that_nothing_was_found():
    assert "(nothing found)" in printed(detection())


def test_an_answer_whose_regions_were_all_left_out_does_not_say_that_nothing_was_found():
    result = detection()
    result.answer.left_out_count = 3
    assert "(3 left out by their scores)" in printed(result)


def test_many_regions_are_cut_with_their_number():
    said = printed(detection(*(region("leaf", n, 0, n + 1, 1) for n in range(50))))
    assert "and 10 more" in said


def test_narrow_terminal_gets_lines_with_all_that_the_table_has():
    said = printed(
        detection(region("cat", 1, 2, 30, 40, score=0.876)),
        caption("a cat sits"),
        failure("ENGINE_FAILED", "broke"),
        width=40,
    )
    for part in ("■ cat  1,2,30,40  0.88", "a cat sits", "length", "ENGINE_FAILED: broke"):
        assert part in said
