from arno.vocabulary import Answer, Box, DetectionAnswer, FinishReason, Region

from benchmarks.precision import difference


def detected(*regions: tuple[str, Box], raw: str) -> Answer:
    found = DetectionAnswer(tuple(Region(label, box) for label, box in regions))
    return Answer(found, 0.5, FinishReason.STOP, raw, 4)


CAR = ("car", Box(0, 0, 10, 10))


def test_equal_answers_do_not_differ() -> None:
    answer = detected(CAR, raw="car")
    found = difference([answer], [answer])
    assert (found["equal_part"], found["iou_mean"], found["edit_distance_mean"]) == (1, 1, 0)


def test_a_shifted_box_costs_overlap_and_a_missing_one_all_of_it() -> None:
    exact = detected(CAR, ("dog", Box(0, 0, 4, 4)), raw="abcd")
    rounded = detected(("car", Box(0, 0, 10, 5)), raw="abxd")
    found = difference([exact], [rounded])
    assert found["boxes"] == 2
    assert found["iou_mean"] == 0.25
    assert found["edit_distance_mean"] == 0.25
    assert found["label_equal_part"] == 0
