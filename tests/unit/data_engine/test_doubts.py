"""Which labels are doubted: planted errors come first."""

from __future__ import annotations

import json
import random

import pytest
from arno.data_engine.doubts import DOUBTS_FILE, find_doubts, write_doubts
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from support.annotated import record, region

PLACES = ((10.0, 10.0, 50.0, 60.0), (60.0, 20.0, 110.0, 80.0), (130.0, 5.0, 190.0, 90.0))
IMAGES = 40


def dataset(folder, records):
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        for one in records:
            writer.write(one)
    return Dataset(folder)


@pytest.fixture
def planted(tmp_path):
    """Three things an image; of every fourth image one label is missing, wrong or beside it."""
    chance = random.Random(0)
    labels, predictions, errors = [], [], {}
    for at in range(IMAGES):
        true = [(chance.choice(("cat", "dog", "car")), place) for place in PLACES]
        seen = [
            region(
                name,
                *(side + chance.uniform(-2, 2) for side in place),
                score=chance.uniform(0.9, 1),
            )
            for name, place in true
        ]
        said = [region(name, *place) for name, place in true]
        if at % 4 == 0:
            kind = ("overlooked", "swapped", "badly placed")[at // 4 % 3]
            name, place = true[1]
            if kind == "overlooked":
                del said[1]
            elif kind == "swapped":
                said[1] = region("car" if name == "cat" else "cat", *place)
            else:
                said[1] = region(name, *(side + 12 for side in place))
            errors[f"image-{at}"] = kind
        labels.append(record(at, regions=said))
        predictions.append(record(at, regions=seen))
    return dataset(tmp_path / "labels", labels), dataset(tmp_path / "seen", predictions), errors


def test_planted_errors_come_first_and_by_their_kind(planted):
    labels, predictions, errors = planted
    doubts = find_doubts(labels, predictions, sure=0.85)
    for kind in ("overlooked", "swapped", "badly placed"):
        wanted = {image for image, planted_kind in errors.items() if planted_kind == kind}
        first = [doubt.image_id for doubt in doubts if doubt.kind == kind][: len(wanted)]
        assert set(first) == wanted, kind


def test_most_planted_errors_are_in_the_first_third_of_the_images(planted, tmp_path):
    labels, predictions, errors = planted
    doubts = find_doubts(labels, predictions, sure=0.85)
    count = write_doubts(labels, doubts, tmp_path / "out", images_max=IMAGES * 3 // 10)
    worst = {one.image_id for one in Dataset(tmp_path / "out")}
    assert len(worst) == count == 12
    assert len(worst & errors.keys()) >= 0.7 * len(errors)
    lines = (tmp_path / "out" / DOUBTS_FILE).read_text().splitlines()
    kept = [one.score for one in doubts if one.image_id in worst]
    assert [json.loads(line)["score"] for line in lines] == kept


def test_data_sets_without_a_common_image_are_refused(planted, tmp_path):
    other = dataset(tmp_path / "other", [record(0, image_id="elsewhere")])
    with pytest.raises(InvalidFieldError, match="no image in common"):
        find_doubts(planted[0], other, sure=0.9)


def test_labels_that_stand_beside_predictions_do_not_vouch_for_themselves(planted, tmp_path):
    labels, predictions, _ = planted
    both = [
        seen.model_copy(update={"regions": (*said.regions, *seen.regions)})
        for said, seen in zip(labels, predictions, strict=True)
    ]
    together = find_doubts(labels, dataset(tmp_path / "both", both), sure=0.85)
    assert together == find_doubts(labels, predictions, sure=0.85)


def test_predictions_without_a_score_are_refused(planted):
    with pytest.raises(InvalidFieldError, match="no category region has a score"):
        find_doubts(planted[0], planted[0], sure=0.9)
