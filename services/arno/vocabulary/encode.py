"""Write an answer as the model is trained to write it: the inverse of `parse`.

For training targets. A target is text, and the tokenizer turns the location tokens in it into
tokens; so labels must not hold any.
"""

from collections.abc import Iterable

from arno.vocabulary.answers import (
    AnswerValue,
    DetectionAnswer,
    GroundingAnswer,
    OcrAnswer,
    SegmentationAnswer,
    TextAnswer,
)
from arno.vocabulary.locations import render_bins, shape_bins
from arno.vocabulary.regions import ImageSize, Polygon, Region
from arno.vocabulary.token_table import MARKERS, POLYGON_END, POLYGON_SEPARATOR, POLYGON_START


def encode(value: AnswerValue, size: ImageSize) -> str:
    """Return the text of an answer, locations quantised from the shapes in pixels of the image.

    Of a text answer only the text: its regions were asked about, not answered.

    Raises:
        ValueError: A label holds text that the tokenizer would take for a marker or a location.
    """
    match value:
        case TextAnswer(text):
            return text
        case DetectionAnswer(regions) | OcrAnswer(regions):
            return "".join(_checked(region.label) + _places(region, size) for region in regions)
        case SegmentationAnswer(regions):
            return _masks(regions, size)
        case GroundingAnswer(phrases):
            return "".join(
                _checked(phrase.phrase) + "".join(_places(box, size) for box in phrase.regions)
                for phrase in phrases
            )


def _masks(regions: tuple[Region, ...], size: ImageSize) -> str:
    # One mask needs no fence: that is how the model is trained to write it.
    if len(regions) == 1 and isinstance(regions[0].shape, tuple):
        return _outlines(regions[0].shape, size)
    return "".join(_places(region, size) for region in regions)


def _places(region: Region, size: ImageSize) -> str:
    if isinstance(region.shape, tuple):
        return f"{POLYGON_START}{_outlines(region.shape, size)}{POLYGON_END}"
    return render_bins(shape_bins(region.shape, size))


def _outlines(polygons: Iterable[Polygon], size: ImageSize) -> str:
    return POLYGON_SEPARATOR.join(render_bins(shape_bins((polygon,), size)) for polygon in polygons)


def _checked(label: str) -> str:
    if "<loc_" in label or any(marker in label for marker in MARKERS):
        raise ValueError(f"a label must not hold location tokens or markers: {label!r}")
    return label
