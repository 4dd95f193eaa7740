import json

import pytest
from arno.cli.truth import TrueObject, compare, read_truth
from arno.errors import InvalidFieldError
from arno.vocabulary import Box, Region

CAT = TrueObject("cat", Box(0, 0, 10, 10))


def test_box_over_half_of_an_object_of_its_label_counts():
    assert compare([CAT], [Region("Cat", Box(0, 0, 10, 6))]).found_count == 1
    assert compare([CAT], [Region("cat", Box(0, 0, 10, 4))]).found_count == 0
    assert compare([CAT], [Region("dog", Box(0, 0, 10, 10))]).found_count == 0


def test_one_box_finds_one_object_only():
    assert compare([CAT, CAT], [Region("cat", Box(0, 0, 10, 10))]).found_count == 1


def test_best_overlap_is_matched_first():
    near = TrueObject("cat", Box(2, 0, 12, 10))
    regions = [Region("cat", Box(1, 0, 11, 10)), Region("cat", Box(0, 0, 10, 10))]
    assert compare([CAT, near], regions).found_count == 2


def test_folder_without_truth_has_none(tmp_path):
    assert read_truth(tmp_path) == {}


def test_truth_is_read_by_file_name(tmp_path):
    objects = [{"label": "cat", "box": [0, 0, 10, 10]}]
    document = {"images": [{"file": "a.png", "objects": objects}]}
    (tmp_path / "truth.json").write_text(json.dumps(document))
    assert read_truth(tmp_path) == {"a.png": [CAT]}


def test_truth_of_another_form_is_refused(tmp_path):
    (tmp_path / "truth.json").write_text("[]")
    with pytest.raises(InvalidFieldError, match=r"truth\.json: cannot be read"):
        read_truth(tmp_path)
