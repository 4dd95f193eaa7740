"""The settings of the filters. Where the defaults are from: docs/dataset.md."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from arno.ops.config import Settings

_PRONOUNS: Final = (
    *("i", "you", "he", "she", "it", "we", "they", "him", "her", "us", "them", "this", "that"),
    *("these", "those", "who", "which", "what", "one", "ones", "another", "other", "others"),
    *("each", "both", "all", "some", "someone", "something", "anything", "everything", "itself"),
    *("himself", "herself", "themselves", "there"),
)
_ABSTRACT: Final = (
    *("image", "picture", "photo", "photograph", "view", "scene", "background", "foreground"),
    *("top", "bottom", "left", "right", "center", "centre", "middle", "side", "front", "back"),
    *(
        "corner",
        "edge",
        "distance",
        "day",
        "night",
        "time",
        "moment",
        "way",
        "kind",
        "type",
        "sort",
    ),
    *("style", "mood", "atmosphere", "feeling", "sense", "beauty", "size", "color", "colour"),
    *("shape", "number", "group", "lot", "variety", "series", "part", "piece", "addition"),
    *("position", "direction", "focus", "light", "lighting", "perspective"),
)


class FilterSettings(Settings):
    """What is kept of a data set."""

    help_section = "Filters"

    text_rules: bool = Field(default=True, description="Judge texts; they need spaCy's model.")
    text_chars_max: int = Field(default=4000, ge=1, description="Characters of a text.")
    latin_share_min: float = Field(
        default=0.5, ge=0, le=1, description="Least part of a text's letters that are Latin."
    )
    text_tokens_min: int = Field(default=3, ge=0, description="Tokens of a text at least.")
    distinct_min: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Least part of a text's tokens that are different: loops have a lower one.",
    )
    objects_min: int = Field(default=1, ge=0, description="Objects of a text at least.")
    objects_max: tuple[int, ...] = Field(
        default=(12, 40, 80),
        description="Objects of a text at most: brief, detailed, more detailed.",
    )
    actions_min: int = Field(default=0, ge=0, description="Actions of a text at least.")
    object_complexity_min: int = Field(
        default=1, ge=0, description="Least largest degree of an object in the dependency tree."
    )
    action_complexity_min: int = Field(
        default=0, ge=0, description="Least largest degree of an action in the dependency tree."
    )
    text_ratio_min: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Least score of a text, as a part of the best of its image and granularity; "
        "texts without a score stay.",
    )
    texts_max: int = Field(
        default=100, ge=1, description="Texts of an image and granularity; the first are kept."
    )
    score_min: float = Field(
        default=0.3, ge=0, le=1, description="Least score of a region or triplet that has one."
    )
    agreement_min: float = Field(
        default=0.0, ge=0, le=1, description="Least agreement of an annotation that has one."
    )
    outside_max: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Part of a place that may lie outside the image; it is cut off.",
    )
    side_px_min: float = Field(
        default=2.0, ge=0, description="Least width and height of a place inside the image, pixels."
    )
    regions_max: int = Field(
        default=300, ge=1, description="Places of an image and kind at most; the best are kept."
    )
    nms_iou: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Overlap from which the worse of two places of one text is dropped.",
    )
    phrase_words_max: int = Field(default=12, ge=1, description="Words of a triplet's phrase.")
    blocked_words: tuple[str, ...] = Field(
        default=(*_PRONOUNS, *_ABSTRACT),
        description="Phrases of triplets whose main word is one of these are dropped.",
    )
    keep_empty: bool = Field(
        default=False, description="Keep images of which no annotation is left."
    )
    spacy_model: str = Field(
        default="en_core_web_sm", min_length=1, description="spaCy's model for texts."
    )
    processes: int = Field(default=1, ge=1, le=256, description="Processes that judge.")

    @model_validator(mode="after")
    def _has_a_maximum_each(self) -> Self:
        if len(self.objects_max) != 3:
            raise ValueError("--objects-max takes three numbers: brief, detailed, more detailed")
        return self
