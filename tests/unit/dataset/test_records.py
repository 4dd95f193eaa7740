"""What the schema takes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from arno.dataset import ImageRecord, Place, RegionKind, RegionText
from arno.dataset.records import place_of, record_schema
from arno.vocabulary import Box
from pydantic import ValidationError
from support.annotated import CAPTION, full_record, record, region, said, text, triplet

DOCUMENTED = Path(__file__).resolve().parents[3] / "docs" / "dataset.schema.json"


def test_every_kind_of_place_is_the_same_as_shape_and_back():
    for one in full_record().regions:
        assert vars(place_of(one.shape)) == {
            name: getattr(one, name) for name in ("box", "quad_box", "polygons")
        }


def test_bounds_are_the_box_around_all_polygons():
    assert full_record().regions[3].bounds == (0.0, 0.0, 30.0, 28.0)


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"box": (0, 0, 1, 1), "polygons": ((0, 0, 1, 0, 1, 1),)},
        {"polygons": ()},
        {"polygons": ((0, 0, 1, 1),)},
        {"polygons": ((0, 0, 1, 0, 1, 1, 2),)},
        {"box": (0, 0, 1)},
        {"box": (0, 0, 1, float("nan"))},
    ],
)
def test_place_that_is_not_exactly_one_shape_is_refused(place):
    with pytest.raises(ValidationError):
        Place(**place)


def test_region_outside_the_image_or_inverted_is_kept_for_the_filters():
    assert region("car", 500.0, 9.0, -20.0, 9.0).bounds == (500.0, 9.0, -20.0, 9.0)


def test_region_without_a_text_is_a_proposal_and_nothing_else():
    with pytest.raises(ValidationError, match="needs a text"):
        region(" ")
    with pytest.raises(ValidationError, match="needs a text"):
        region("car", kind=RegionKind.PROPOSAL)


@pytest.mark.parametrize(
    ("span", "problem"),
    [((0, 28), "no span of a text of 27"), ((9, 9), "no span"), ((5, 4), "no span")],
)
def test_span_that_is_not_in_its_text_is_refused(span, problem):
    with pytest.raises(ValidationError, match=problem):
        record(texts=(text(CAPTION),), triplets=(triplet(*span),))


def test_triplet_of_no_text_and_texts_of_one_id_are_refused():
    with pytest.raises(ValidationError, match="no text 't7'"):
        record(texts=(text(CAPTION),), triplets=(triplet(0, 3, text_id="t7"),))
    with pytest.raises(ValidationError, match="same id"):
        record(texts=(text(CAPTION), text("Another.")))


def test_spans_count_characters_and_not_bytes():
    words = "Fluß, Brücke 🌉."
    made = record(texts=(text(words),), triplets=(triplet(6, 14),))
    assert made.phrase(made.triplets[0]) == "Brücke 🌉"


def test_unknown_fields_are_refused():
    document = json.loads(full_record().model_dump_json())
    with pytest.raises(ValidationError, match=r"regions.0.colour"):
        ImageRecord.model_validate(
            {**document, "regions": [{**document["regions"][0], "colour": "red"}]}
        )


def test_shape_without_finite_numbers_is_no_place():
    with pytest.raises(ValueError, match="finite"):
        place_of(Box(0, 0, float("inf"), 1))


def test_documented_json_schema_is_that_of_the_records_and_accepts_a_line():
    documented = json.loads(DOCUMENTED.read_text(encoding="utf-8"))
    assert documented == record_schema()
    line = json.loads(full_record().model_dump_json(exclude_defaults=True))
    jsonschema.validate(line, documented)
    line["regions"][0]["kind"] = "guess"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line, documented)


def test_region_pair_names_its_annotator():
    with pytest.raises(ValidationError, match="annotator"):
        RegionText(box=(0, 0, 1, 1), kind=RegionKind.OCR, text="x", provenance={"annotator": ""})
    assert said().annotator == "one"
