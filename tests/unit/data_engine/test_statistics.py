"""Figures of records, and the card that shows them."""

from __future__ import annotations

import json

import pytest
from arno.bulk import open_source
from arno.data_engine.annotation import RunOptions, Sources, annotate
from arno.data_engine.annotators.annotator import FunctionAnnotator, TaskAnnotator
from arno.data_engine.card import statistics_of, write_card
from arno.dataset import Dataset, DatasetWriter, Granularity, Manifest
from arno.dataset.shards import ShardFormat
from arno.dataset.statistics import Statistics
from arno.vocabulary import TaskSpec
from arno.vocabulary.wire_results import infer_result
from PIL import Image
from support.annotated import full_record, record, region, text, triplet
from support.answers import caption, response
from support.bulk import ChosenAnswerer
from support.images import png
from support.spacy_model import spacy_analyser


def test_annotations_are_counted_by_what_they_are():
    found = Statistics()
    found.add([full_record(0), record(1), full_record(2)], None)
    document = found.document()
    assert document["images"] == 3
    assert document["texts"] == {"brief": 2, "detailed": 0, "more_detailed": 0}
    assert document["regions"] == {"category": 2, "ocr": 2, "phrase": 2, "proposal": 2}
    assert document["regions_per_image"] == pytest.approx(8 / 3)
    assert document["triplets"]["brief"] == 4
    assert document["labels"] == {"car": 2}
    assert found.regions_per_image == {4: 2, 0: 1}
    assert document["text_means"] == {}


def test_scores_and_areas_fall_into_their_bins():
    found = Statistics()
    whole = region("a", 0.0, 0.0, 200.0, 100.0, score=1.0)
    quarter = region("b", 0.0, 0.0, 100.0, 50.0, score=0.06)
    found.add([record(regions=(whole, quarter))], None)
    assert (found.scores[19], found.scores[1], found.scores.sum()) == (1, 1, 2)
    assert (found.areas[19], found.areas[5], found.areas.sum()) == (1, 1, 2)


def test_means_of_texts_do_not_depend_on_batches():
    analyser = spacy_analyser()
    texts = ["A red car on a road.", "Two dogs run.", "A man with a hat and a small bag."]
    records = [record(at, texts=(text(words),)) for at, words in enumerate(texts)]
    together, alone = Statistics(), Statistics()
    together.add(records, analyser)
    for one in records:
        alone.add([one], analyser)
    assert together.text_means(Granularity.BRIEF) == pytest.approx(
        alone.text_means(Granularity.BRIEF)
    )
    assert together.document()["text_means"]["brief"]["objects"] == pytest.approx(2.0)


def test_card_shows_steps_figures_and_the_papers(tmp_path):
    data = "coco:/secret/data/boxes.json,images=/secret/photos"
    manifest = Manifest(format=ShardFormat.JSONL, steps=({"step": "import", "source": data},))
    with DatasetWriter(tmp_path / "set", manifest) as writer:
        writer.write(
            record(
                0, texts=(text("A | <b>."),), triplets=(triplet(0, 1),), regions=(region("a|b"),)
            )
        )
    dataset = Dataset(tmp_path / "set")
    write_card(tmp_path / "card", dataset, statistics_of(dataset, None))
    card = (tmp_path / "card" / "README.md").read_text()
    assert "1. import of coco:boxes.json,images=photos\n" in card
    assert "| regions an image | 1.00 | 5.42 |" in card
    assert "a\\|b (1)" in card
    with Image.open(tmp_path / "card" / "statistics.png") as plot:
        assert plot.width > 900
    assert json.loads((tmp_path / "card" / "statistics.json").read_text())["images"] == 1


def test_card_says_in_words_how_the_data_set_was_made(tmp_path):
    seen = tmp_path / "secret" / "photos"
    seen.mkdir(parents=True)
    (seen / "0.png").write_bytes(png(20, 10))
    specs = [
        TaskSpec("CAPTION", id="c", num_beams=1),
        TaskSpec("OPEN_VOCABULARY_DETECTION", classes=["cat", "dog"]),
    ]
    answerer = ChosenAnswerer(lambda item: infer_result(response(caption("A cat."))))
    florence = TaskAnnotator(answerer, specs, name="florence")
    options = RunOptions(ShardFormat.JSONL)
    annotate(Sources(open_source(str(seen))), [florence], tmp_path / "seen", options)
    once = Dataset(tmp_path / "seen")
    find = FunctionAnnotator(lambda image: [], name="mine", model="ab" * 32)
    annotate(Sources(once), [find], tmp_path / "twice", options)
    twice = Dataset(tmp_path / "twice")
    write_card(tmp_path / "card", twice, statistics_of(twice, None))
    card = (tmp_path / "card" / "README.md").read_text()
    lines = card[card.index("1. ") : card.index("## Figures")].strip().splitlines()
    assert lines == [
        "1. annotate of photos",
        "   - annotators: florence (tasks CAPTION (num_beams 1) and "
        "OPEN_VOCABULARY_DETECTION (classes cat, dog), round 0)",
        "   - counts: images 1, failures 0",
        "2. annotate of seen",
        "   - annotators: mine (model abababababababab)",
        "   - counts: images 1, failures 0",
    ]
