"""Where Arno reads an answer differently from the reference, on purpose.

One test for each heading of docs/parsing-differences.md, showing what both do.
"""

import pytest
from arno.vocabulary import Box, Decoded, ImageSize, QuadBox, Region, Task, TextAnswer, area, parse
from integration.vocabulary.reference import PUBLISHED_CONFIG, Reference

SIZE = ImageSize(1000, 1000)
BOX, OTHER = "<loc_1><loc_2><loc_3><loc_4>", "<loc_5><loc_6><loc_7><loc_8>"
A = "<loc_0><loc_0><loc_9><loc_0><loc_9><loc_9>"


def ours(reference: Reference, task: Task, tokens: list[int] | str) -> tuple[Region, ...]:
    ids = reference.spell(tokens) if isinstance(tokens, str) else tokens
    return parse(task, Decoded(ids), reference.token_table, SIZE).regions


def labels(reference: Reference, task: Task, text: str) -> tuple[list[str], list[str]]:
    """Return the labels that Arno reads, and those that the reference reads."""
    theirs = reference.post_process(task, SIZE, text=text)["labels"]
    return [region.label for region in ours(reference, task, text)], theirs


def test_coordinates_are_floats_where_the_reference_truncates(reference):
    assert ours(reference, Task.OD, f"car{BOX}")[0].shape == Box(1.5, 2.5, 3.5, 4.5)
    theirs = reference.post_process(Task.OD, SIZE, text=f"car{BOX}")
    assert theirs["bboxes"] == [[1, 2, 3, 4]]


@pytest.mark.parametrize("task", [Task.OD, Task.CAPTION_TO_PHRASE_GROUNDING])
def test_labels_keep_every_script_where_the_reference_keeps_ascii(reference, task):
    assert labels(reference, task, f"caf\u00e9{BOX}") == (["caf\u00e9"], ["caf"])


def test_tokens_are_decoded_together_where_the_reference_decodes_each_alone(reference):
    tokens = reference.spell("caf\u00e9")
    answer = parse(Task.OCR, Decoded(tokens), reference.token_table, SIZE)
    assert isinstance(answer.value, TextAnswer)
    assert answer.value.text == "caf\u00e9"
    assert reference.post_process(Task.OCR, SIZE, sequence=tokens) == "caf\ufffd\ufffd"


def test_a_label_with_a_less_than_sign_is_kept_whole_where_the_reference_loses_its_start(reference):
    assert labels(reference, Task.OD, f"a < b{BOX}") == (["a < b"], ["b"])


def test_a_label_of_two_lines_is_kept_where_the_reference_drops_it(reference):
    assert labels(reference, Task.OD, f"a\nb{BOX}") == (["a\nb"], [])
    quad = BOX + OTHER
    assert labels(reference, Task.OCR_WITH_REGION, f"a\nb{quad}") == (["a\nb"], ["b"])


def test_locations_without_a_label_are_dropped_where_the_reference_invents_one(reference):
    assert labels(reference, Task.OD, BOX + OTHER) == ([], ["loc_1>"])
    assert labels(reference, Task.OD, f"dog<loc_9>car{BOX}") == (["car"], ["loc_9>car"])


def test_markers_are_no_words_where_the_reference_makes_labels_of_them(reference):
    assert labels(reference, Task.OD, f"<od>car{BOX}</od>") == (["car"], ["od>car"])


def test_an_incomplete_quad_box_is_dropped_where_the_reference_makes_it_text(reference):
    text = f"GO{BOX}STOP{BOX}{OTHER}"
    assert labels(reference, Task.OCR_WITH_REGION, text) == (["STOP"], [f"GO{BOX}STOP"])


def test_typed_markup_is_text_where_the_reference_obeys_it(reference):
    tokens = [token for char in f"x{BOX}" for token in reference.spell(char)]
    assert ours(reference, Task.OD, tokens) == ()
    assert reference.read(Task.OD, tokens, SIZE)["bboxes"] == [[1, 2, 3, 4]]


def test_padding_is_no_text_where_the_reference_keeps_it(reference):
    tokens = reference.spell("a dog</s><pad>")
    answer = parse(Task.CAPTION, Decoded(tokens), reference.token_table, SIZE)
    assert isinstance(answer.value, TextAnswer)
    assert answer.value.text == "a dog"
    assert reference.read(Task.CAPTION, tokens, SIZE) == "a dog<pad>"


def test_text_has_no_locations_where_the_reference_leaves_them_in(reference):
    text = f"A car{BOX} by a tree"
    answer = parse(Task.PROMPT, Decoded(reference.spell(text)), reference.token_table, SIZE)
    assert isinstance(answer.value, TextAnswer)
    assert answer.value.text == "A car by a tree"
    assert [region.label for region in answer.regions] == ["A car"]
    assert reference.post_process(Task.PROMPT, SIZE, text=text) == answer.raw_text == text


def test_an_outline_without_an_inside_is_dropped_where_the_reference_keeps_it(reference):
    task, text = Task.REGION_TO_SEGMENTATION, f"{BOX}<sep>{A}"
    (region,) = ours(reference, task, text)
    assert isinstance(region.shape, tuple)
    assert [len(polygon.points) for polygon in region.shape] == [3]
    (theirs,) = reference.post_process(task, SIZE, text=text)["polygons"]
    assert [len(polygon) for polygon in theirs] == [4, 6]


@pytest.mark.parametrize(
    ("text", "arno_count", "reference_count"),
    [
        (f"<poly>{A}</poly><poly>{A}", 2, 1),
        (f"<poly>{A}<poly>{A}</poly>", 2, 1),
        (f"{A}</poly>", 1, 0),
    ],
    ids=["never closed", "opened twice", "never opened"],
)
def test_an_unpaired_fence_keeps_its_mask_where_the_reference_loses_it(
    reference, text, arno_count, reference_count
):
    task = Task.REGION_TO_SEGMENTATION
    assert len(ours(reference, task, text)) == arno_count
    assert len(reference.post_process(task, SIZE, text=text)["polygons"]) == reference_count


def test_each_label_has_its_own_shape_where_the_reference_decides_for_the_whole_text(reference):
    task, text = Task.OPEN_VOCABULARY_DETECTION, f"car<poly>{A}</poly>dog{BOX}"
    car, dog = ours(reference, task, text)
    assert isinstance(car.shape, tuple)
    assert dog.shape == Box(1.5, 2.5, 3.5, 4.5)
    theirs = reference.post_process(task, SIZE, text=text)
    assert (theirs["bboxes"], theirs["polygons_labels"]) == ([], ["car", "dog"])


def test_a_repeated_phrase_is_one_phrase_where_the_reference_lists_it_again(reference):
    text = f"a car{BOX}a dog{OTHER}a car{OTHER}"
    assert labels(reference, Task.CAPTION_TO_PHRASE_GROUNDING, text) == (
        ["a car", "a car", "a dog"],
        ["a car", "a dog", "a car"],
    )


def test_an_area_has_its_last_edge_where_the_reference_leaves_it_out(reference):
    # Ten by ten pixels away from the origin: without the last edge its area comes out wrong.
    text = "GO" + "<loc_900><loc_0><loc_910><loc_0><loc_910><loc_10><loc_900><loc_10>"
    (region,) = ours(reference, Task.OCR_WITH_REGION, text)
    assert isinstance(region.shape, QuadBox)
    assert area(region.shape) == 100
    config = {**PUBLISHED_CONFIG, "ocr": {"AREA_THRESHOLD": 1000 / 1_000_000}}
    said = reference.post_process(Task.OCR_WITH_REGION, SIZE, text=text, config=config)
    # A threshold of 1,000 square pixels should drop a box of 100, and does not.
    assert said["labels"] == ["GO"]


def test_every_region_has_scores_where_the_reference_has_none(reference):
    tokens = reference.spell(f"car{BOX}")
    decoded = Decoded(tokens, [-0.5] * len(tokens))
    (region,) = parse(Task.OD, decoded, reference.token_table, SIZE).regions
    assert region.score == pytest.approx(0.6065307)
    assert "scores" not in reference.read(Task.OD, tokens, SIZE)
