"""Arno reads thousands of answers as transformers does, but for the differences written down."""

from importlib import import_module

import pytest
from arno.vocabulary import Task
from integration.vocabulary.comparison import compare_many
from integration.vocabulary.reference import Reference


@pytest.mark.parametrize("task", Task)
def test_answers_are_read_as_the_reference_reads_them(task: Task, reference: Reference):
    compare_many(reference, task, 400)


# Each breaks one thing in Arno. A comparison that lets one pass would prove nothing.
BREAKAGES = {
    "boxes of five locations": (Task.OD, "arno.vocabulary.parsing.regions:BOX_BINS", 5),
    "quad boxes of six locations": (
        Task.OCR_WITH_REGION,
        "arno.vocabulary.parsing.regions:QUAD_BINS",
        6,
    ),
    "coordinates one bin too far": (
        Task.DENSE_REGION_CAPTION,
        "arno.vocabulary.locations:dequantise",
        lambda location_bin, side_px: (location_bin + 1.5) * side_px / 1000,
    ),
    "four points at least": (
        Task.REGION_TO_SEGMENTATION,
        "arno.vocabulary.parsing.regions:POLYGON_BINS_MIN",
        8,
    ),
    "separators that part masks": (
        Task.REFERRING_EXPRESSION_SEGMENTATION,
        "arno.vocabulary.parsing.regions:POLYGON_START",
        "<sep>",
    ),
    "empty phrases kept": (
        Task.CAPTION_TO_PHRASE_GROUNDING,
        "arno.vocabulary.parsing.phrases:EMPTY_PHRASES",
        frozenset(),
    ),
    "outlines never fenced": (
        Task.OPEN_VOCABULARY_DETECTION,
        "arno.vocabulary.parsing.blocks:POLYGON_START",
        "<od>",
    ),
    "proposals read as detections": (
        Task.REGION_PROPOSAL,
        "arno.vocabulary.parsing.parse:read_proposals",
        lambda _blocks, _size: (),
    ),
    "words lost": (Task.CAPTION, "arno.vocabulary.parsing.parse:read_text", lambda _segments: "a"),
}


@pytest.mark.parametrize(("task", "name", "broken"), BREAKAGES.values(), ids=BREAKAGES.keys())
def test_the_comparison_notices_a_broken_parser(task, name, broken, reference, monkeypatch):
    module, attribute = name.split(":")
    # Not by its dotted name: `arno.vocabulary.parsing.parse` is also a function.
    monkeypatch.setattr(import_module(module), attribute, broken)
    with pytest.raises((AssertionError, ValueError)):
        compare_many(reference, task, 400)
