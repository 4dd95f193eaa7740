"""A model's calibration is read from beside its weights, and only for these weights."""

from __future__ import annotations

import json
import logging

import arno
import pytest
from arno.engine.checkpoints.calibration import (
    CALIBRATION_FILE,
    read_calibration,
    write_calibration,
)
from arno.engine.checkpoints.folders import find_model, fingerprint
from arno.errors import ModelError
from arno.vocabulary import Task
from arno.vocabulary.calibration import UNCALIBRATED, Calibration, ScoreMap
from PIL import Image

pytestmark = pytest.mark.model

MADE = Calibration({Task.OD: ScoreMap((0.0, 0.5, 1.0), (0.0, 0.25, 0.9))})


def test_what_is_written_is_read_again_for_the_same_weights_alone(tmp_path, caplog):
    write_calibration(tmp_path, MADE, fingerprint="a" * 64, fitted_on={"data": "world"})
    assert read_calibration(tmp_path, "a" * 64) == MADE
    with caplog.at_level(logging.WARNING):
        assert read_calibration(tmp_path, "b" * 64) is UNCALIBRATED
    assert "fitted to other weights" in caplog.text
    assert read_calibration(tmp_path / "other", "a" * 64) is UNCALIBRATED


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 2}, "version 2; this Arno reads 1"),
        ({"tasks": {"OD": {"scores": [0, 1], "values": [1, 0]}}}, "no calibration.*rise"),
        ({"tasks": {"CHESS": {"scores": [0, 1], "values": [0, 1]}}}, "no calibration.*CHESS"),
        ({"tasks": {"OD": {"scores": [0, 1]}}}, "no calibration.*values"),
    ],
)
def test_a_broken_file_stops_the_start_by_name(tmp_path, changes, problem):
    path = write_calibration(tmp_path, MADE, fingerprint="a" * 64, fitted_on={})
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=rf"{CALIBRATION_FILE}.*{problem}"):
        read_calibration(tmp_path, "a" * 64)


def test_the_bundled_model_answers_with_calibrated_scores():
    """After a change of the weights: models/arno_tiny/README.md says how to fit it again."""
    folder = find_model("tiny")
    assert set(read_calibration(folder, fingerprint(folder)).maps) >= {
        Task.OD,
        Task.OPEN_VOCABULARY_DETECTION,
        Task.CAPTION_TO_PHRASE_GROUNDING,
        Task.OCR_WITH_REGION,
    }
    picture = Image.open(folder.parents[3] / "examples" / "images" / "wide.jpg")
    with arno.load("tiny") as florence:
        regions = florence.ask(picture, "OD")["OD"].regions
    assert regions
    assert all(region.calibrated for region in regions)
