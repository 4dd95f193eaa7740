import json

import pytest
from arno.cli.demo import read_truth
from arno.errors import InvalidFieldError
from arno.vocabulary import Box, Region


def test_folder_without_truth_has_none(tmp_path):
    assert read_truth(tmp_path) == {}


def test_truth_is_read_by_file_name(tmp_path):
    objects = [{"label": "cat", "box": [0, 0, 10, 10]}]
    document = {"images": [{"file": "a.png", "objects": objects}]}
    (tmp_path / "truth.json").write_text(json.dumps(document))
    assert read_truth(tmp_path) == {"a.png": [Region("cat", Box(0, 0, 10, 10))]}


def test_truth_of_another_form_is_refused(tmp_path):
    (tmp_path / "truth.json").write_text("[]")
    with pytest.raises(InvalidFieldError, match=r"truth\.json: cannot be read"):
        read_truth(tmp_path)
