"""How text is read from tokens, with the regions in it and around it."""

import pytest
from arno.vocabulary import Box, Decoded, FinishReason, ImageSize, Task, TextAnswer, parse
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, locations, said, spell, typed

TEXT_TASKS = (Task.CAPTION, Task.DETAILED_CAPTION, Task.MORE_DETAILED_CAPTION, Task.OCR)
REGION_TASKS = (Task.REGION_TO_CATEGORY, Task.REGION_TO_DESCRIPTION, Task.REGION_TO_OCR)
BOX = locations(range(1, 5))


def answer_of(task: Task, text: str | list[int], region: Box | None = None) -> TextAnswer:
    value = parse(task, said(text), VOCABULARY, THOUSAND, region=region).value
    assert isinstance(value, TextAnswer)
    return value


TEXTS = {
    "nothing": ("", ""),
    "begin and end": ("</s><s>A dog.</s>", "A dog."),
    "padding": ("<s>A dog.</s><pad><pad>", "A dog."),
    "spaces around": ("<s> A dog. \n</s>", "A dog."),
    "several lines": ("ONE\nWAY", "ONE\nWAY"),
    "another script": ("一隻狗 🐶", "一隻狗 🐶"),
    "angle brackets": ("a < b > c <d>", "a < b > c <d>"),
    "markers": ("<cap>A dog</cap>", "<cap>A dog</cap>"),
    "locations inside a sentence": (f"A car{BOX} by a tree{BOX}, red.", "A car by a tree, red."),
    "locations between words": (f"car{BOX}door{BOX}", "car door"),
    "only locations": (BOX, ""),
}


@pytest.mark.parametrize("task", [*TEXT_TASKS, *REGION_TASKS, Task.PROMPT])
@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_text_is_what_was_said_without_ends_and_locations(task, text, expected):
    assert answer_of(task, text).text == expected


def test_text_that_looks_like_an_end_token_is_kept():
    assert answer_of(Task.OCR, typed("</s> a <pad> <loc_5>")).text == "</s> a <pad> <loc_5>"


def test_a_character_that_was_cut_becomes_the_replacement_character():
    assert answer_of(Task.OCR, typed("é")[:1]).text == "\N{REPLACEMENT CHARACTER}"
    assert answer_of(Task.OCR, typed("a🐶")[:-1]).text == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("task", TEXT_TASKS)
def test_a_text_task_has_no_regions(task):
    assert answer_of(task, f"car{BOX}").regions == ()


@pytest.mark.parametrize("task", REGION_TASKS)
def test_the_region_asked_about_comes_back_with_the_words_as_its_label(task):
    asked = Box(10.25, 20.0, 500.5, 700.0)
    (region,) = answer_of(task, "<s>a red car</s>", asked).regions
    assert (region.label, region.shape, region.bins) == ("a red car", asked, (10, 20, 500, 700))
    assert region.location_score is None
    assert region.score == region.label_score == pytest.approx(0.3678794)


@pytest.mark.parametrize("task", REGION_TASKS)
def test_a_region_task_without_its_region_is_only_text(task):
    assert answer_of(task, "a red car").regions == ()


def test_a_prompt_gives_boxes_and_outlines_found_in_its_text():
    outline = f"dog<poly>{locations(range(6))}</poly>"
    answer = answer_of(Task.PROMPT, f"{BOX}car{BOX}{BOX}{outline}tree<loc_1>")
    assert [(region.label, len(region.bins)) for region in answer.regions] == [
        ("", 4),
        ("car", 4),
        ("car", 4),
        ("dog", 6),
    ]


def test_the_answer_keeps_raw_text_tokens_and_finish_reason():
    tokens = spell(f"<s> car{BOX}<and></s>")
    decoded = Decoded(tokens, [-2.0] * len(tokens), FinishReason.LENGTH)
    answer = parse(Task.OD, decoded, VOCABULARY, ImageSize(20, 10))
    assert answer.raw_text == f" car{BOX}<and>"
    assert answer.token_count == len(tokens) == 11
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.score == pytest.approx(0.1353353)
