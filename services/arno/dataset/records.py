"""The schema of a data set: one record an image, with its annotations and where they are from.

The models below are the schema: a reader validates with them, and `record_schema` is their JSON
Schema (docs/dataset.schema.json). Source of the three kinds of annotation: Florence-2 (Xiao et al.
2023, arXiv:2311.06242), section 3.

Units: places are in pixels of the image as a viewer shows it, spans are in characters (Unicode code
points). Places may lie outside the image or be empty: filters judge that, not the schema.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from arno.vocabulary import Box, ImageSize, Point, Polygon, QuadBox, Shape

FORMAT_VERSION: Final = 1
_OUTLINE_NUMBERS_MIN: Final = 6

Score: TypeAlias = Annotated[float, Field(ge=0, le=1)]
BoxSides: TypeAlias = tuple[float, float, float, float]


class Granularity(StrEnum):
    """How much a text of the whole image says."""

    BRIEF = "brief"
    DETAILED = "detailed"
    MORE_DETAILED = "more_detailed"


class RegionKind(StrEnum):
    """What the text of a region is."""

    CATEGORY = "category"
    """The name of a class: "car"."""
    PHRASE = "phrase"
    """A noun phrase that names the region: "a small red car"."""
    SENTENCE = "sentence"
    """A description of the region."""
    OCR = "ocr"
    """The words printed there."""
    PROPOSAL = "proposal"
    """None: the region is something, and its text is empty."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Provenance(_Part):
    """Where an annotation is from, and how sure one may be of it."""

    annotator: str = Field(min_length=1, description="The name of the annotator.")
    model: str = Field(
        default="", description="Fingerprint of the model that answered; empty: none did."
    )
    task: str = Field(
        default="", description="The Florence-2 task that was asked; empty: none was."
    )
    score: Score | None = Field(
        default=None, description="How sure the annotator was; null: it said none."
    )
    calibrated: bool = Field(
        default=False,
        description="Whether the score was fitted to how often such annotations are right.",
    )
    agreement: Score | None = Field(
        default=None,
        description="Part of the annotators that found the same; null: not compared yet.",
    )
    round: int = Field(
        default=0, ge=0, description="Round of refinement that it is from; 0: before any."
    )
    merged: tuple[str, ...] = Field(
        default=(), description="Annotators whose annotations were merged into this one."
    )


class Text(_Part):
    """A text about the whole image."""

    id: str = Field(min_length=1, description="Names the text in its record.")
    granularity: Granularity
    text: str = Field(min_length=1)
    provenance: Provenance


class Place(_Part):
    """A place in the image: exactly one of a box, a quad box and polygons."""

    box: BoxSides | None = Field(default=None, description="x0, y0, x1, y1.")
    quad_box: tuple[float, float, float, float, float, float, float, float] | None = Field(
        default=None,
        description="Four corners, clockwise from the top left of the text: x, y, x, y, ..",
    )
    polygons: tuple[tuple[float, ...], ...] | None = Field(
        default=None, description="Outlines: x, y, x, y, .. of each; three points or more."
    )

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.box is None) + (self.quad_box is None) + (self.polygons is None) != 2:
            raise ValueError("needs exactly one of box, quad_box and polygons")
        if self.polygons is not None:
            for outline in self.polygons:
                if len(outline) < _OUTLINE_NUMBERS_MIN or len(outline) % 2:
                    raise ValueError(
                        f"polygons: an outline is x, y, .. of three points or more, "
                        f"not {len(outline)} numbers"
                    )
            if not self.polygons:
                raise ValueError("polygons: there is none")
        return self

    @property
    def bounds(self) -> BoxSides:
        """The upright box around the place: x0, y0, x1, y1."""
        if self.box is not None:
            return self.box
        if self.quad_box is not None:
            numbers: tuple[float, ...] = self.quad_box
        else:
            numbers = tuple(number for outline in self.polygons or () for number in outline)
        xs, ys = numbers[0::2], numbers[1::2]
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def shape(self) -> Shape:
        """The place as the rest of Arno has it."""
        if self.box is not None:
            return Box(*self.box)
        if self.quad_box is not None:
            first, second, third, fourth = _points(self.quad_box)
            return QuadBox((first, second, third, fourth))
        return tuple(Polygon(_points(outline)) for outline in self.polygons or ())


class RegionText(Place):
    """A region-text pair. A region with several texts is several pairs."""

    kind: RegionKind
    text: str = Field(default="", description="Empty for proposals alone.")
    provenance: Provenance

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if (self.kind is RegionKind.PROPOSAL) != (not self.text.strip()):
            raise ValueError("text: a region needs a text, a proposal has none")
        return self


class Triplet(Place):
    """A text, a phrase in it, and a region of what the phrase names.

    A phrase with several regions is several triplets with the same span.
    """

    text_id: str = Field(description="The text of the record that the phrase is in.")
    start: int = Field(ge=0, description="First character of the phrase.")
    end: int = Field(gt=0, description="The character behind its last.")
    provenance: Provenance


class ImageRecord(_Part):
    """An image and all that is said about it."""

    image_id: str = Field(min_length=1, description="Names the image in the data set.")
    file: str = Field(min_length=1, description="The image, relative to the folder of the images.")
    width_px: int = Field(ge=1, description="As a viewer shows it.")
    height_px: int = Field(ge=1, description="As a viewer shows it.")
    sha256: str = Field(default="", description="Of the file; empty: not computed.")
    position: int = Field(
        default=0, ge=0, description="The number of the image in its source, from 0."
    )
    texts: tuple[Text, ...] = ()
    regions: tuple[RegionText, ...] = ()
    triplets: tuple[Triplet, ...] = ()

    @model_validator(mode="after")
    def _spans_fit(self) -> Self:
        lengths = {text.id: len(text.text) for text in self.texts}
        if len(lengths) != len(self.texts):
            raise ValueError("texts: two have the same id")
        for number, triplet in enumerate(self.triplets):
            length = lengths.get(triplet.text_id)
            if length is None:
                raise ValueError(f"triplets[{number}].text_id: no text {triplet.text_id!r}")
            if not triplet.start < triplet.end <= length:
                raise ValueError(
                    f"triplets[{number}]: {triplet.start} to {triplet.end} is no span "
                    f"of a text of {length} characters"
                )
        return self

    @property
    def size(self) -> ImageSize:
        """The size of the image."""
        return ImageSize(self.width_px, self.height_px)

    def phrase(self, triplet: Triplet) -> str:
        """Return the words of a triplet of this record."""
        (text,) = (text.text for text in self.texts if text.id == triplet.text_id)
        return text[triplet.start : triplet.end]


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of a record, as one line of a shard holds it."""
    schema = ImageRecord.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def place_of(shape: Shape) -> Place:
    """Return a shape as a place of the schema.

    Raises:
        ValueError: It has no points, or coordinates that are no finite numbers.
    """
    match shape:
        case Box(x0, y0, x1, y1):
            return Place(box=(x0, y0, x1, y1))
        case QuadBox((a, b, c, d)):
            return Place(quad_box=(a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y))
        case polygons:
            outlines = ((number for p in one.points for number in (p.x, p.y)) for one in polygons)
            return Place(polygons=tuple(tuple(outline) for outline in outlines))


def _points(numbers: tuple[float, ...]) -> tuple[Point, ...]:
    return tuple(Point(x, y) for x, y in zip(numbers[0::2], numbers[1::2], strict=True))
