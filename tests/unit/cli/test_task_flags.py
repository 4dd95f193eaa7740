import pytest
from arno.cli.asking import TaskFlags
from arno.errors import InvalidFieldError
from arno.vocabulary import Box, Task


def test_detection_is_asked_for_unless_told_otherwise():
    (request,) = TaskFlags(()).requests()
    assert request.task is Task.OD


def test_each_task_gets_only_what_it_takes():
    flags = TaskFlags(
        ("OD", "CAPTION_TO_PHRASE_GROUNDING", "REGION_TO_OCR"), text="a dog", region="1,2,3,4"
    )
    detect, ground, read = flags.requests()
    assert (detect.text, detect.region) == ("", None)
    assert (ground.text, ground.region) == ("a dog", None)
    assert (read.text, read.region) == ("", Box(1, 2, 3, 4))


def test_classes_stand_in_for_the_text():
    flags = TaskFlags(("OPEN_VOCABULARY_DETECTION",), classes="car, bus,")
    assert flags.requests()[0].classes == ("car", "bus")


def test_task_at_another_follows_its_answer():
    detect, describe = TaskFlags(("od", "region-to-description@OD")).requests()
    assert describe.input_from == detect.id
    assert describe.region is None


def test_same_task_twice_has_two_ids():
    one, two = TaskFlags(("OD", "OD")).requests()
    assert one.id != two.id


def test_beams_and_limit_hold_for_all_tasks():
    for request in TaskFlags(("OD", "OCR"), beams=1, max_tokens=20, constrained=True).requests():
        assert (request.num_beams, request.max_new_tokens) == (1, 20)
        assert request.constrained


def test_least_score_holds_for_all_tasks():
    assert [one.min_score for one in TaskFlags(("OD", "OCR"), min_score=0.5).requests()] == [
        0.5
    ] * 2
    assert [one.min_score for one in TaskFlags(("OD",)).requests()] == [None]


def test_candidates_belong_to_one_task():
    (request,) = TaskFlags(("CAPTION",), candidates=("a cat", "a dog")).requests()
    assert request.candidates == ("a cat", "a dog")
    with pytest.raises(InvalidFieldError, match=r"--candidate.*one --task.*2 tasks"):
        TaskFlags(("CAPTION", "OD"), candidates=("a cat",)).requests()
    with pytest.raises(InvalidFieldError, match="</s>"):
        TaskFlags(("CAPTION",), candidates=("a cat</s>",)).requests()


def test_inverted_region_is_refused_before_anything_is_sent():
    with pytest.raises(InvalidFieldError, match="inverted"):
        TaskFlags(("REGION_TO_OCR",), region="30,2,3,4").requests()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (TaskFlags(("nothing",)), "--task: unknown task"),
        (TaskFlags(("REGION_TO_OCR",)), "--region: REGION_TO_OCR asks about one region"),
        (TaskFlags(("CAPTION_TO_PHRASE_GROUNDING",)), "--text: .* sent: nothing$"),
    ],
)
def test_error_names_the_flag_and_not_the_field_of_a_request(flags, said):
    with pytest.raises(InvalidFieldError, match=f"^{said}"):
        flags.requests()
