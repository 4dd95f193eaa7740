"""The settings of `arno refine`: those of the filters and of training, and how rounds go."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from arno.dataset.filters.settings import FilterSettings
from arno.training.trainer.settings import TrainSettings

_NO_MATTER: Final = frozenset(
    {
        *("out", "rounds", "processes", "loader_processes", "threads", "device"),
        *("checkpoint_steps", "metrics_host", "metrics_port", "log_level", "log_format"),
    }
)
"""Settings that may change when a run is gone on with."""


class RefineSettings(FilterSettings, TrainSettings):
    """Rounds of training, annotating, merging and filtering."""

    help_section = "Rounds"

    data: str = Field(min_length=1, description="The data set that is refined.")
    out: Path = Field(description="Folder of the rounds; an unfinished run in it is resumed.")
    validation: str = Field(
        min_length=1,
        description="Held-out data, as for arno eval: rounds stop when its figures do not rise.",
    )
    rounds: int = Field(2, ge=1, le=100, description="Rounds at most.")
    gain_min: float = Field(
        0.0, ge=0, le=1, description="Rise of the held-out figure that makes a round a better one."
    )
    start: Literal["previous", "base"] = Field(
        "previous", description="What a round trains: the model of the round before, or --model."
    )
    beams: int = Field(3, ge=1, le=8, description="Width of the search when a model annotates.")
    truth: str = Field(
        "", description="A data set that is right about the images: each round is compared with it."
    )
    filters: bool = Field(
        True, description="Filter what is trained on; without, a round trains on all that is said."
    )
    labels_compared: int = Field(
        32,
        ge=0,
        le=63,
        description="Labels of the data, the most frequent first, that the model compares each "
        "label of a region with, at its place; 0: it judges none.",
    )
    regions_named: int = Field(
        3,
        ge=1,
        description="Regions of an image at most whose names a round trains, so that the model can "
        "judge labels; more take steps away from other tasks.",
    )
    unscored: float = Field(
        0.25,
        ge=0,
        le=1,
        description="What labels that the model has not judged count in merging: a surer model "
        "beats them.",
    )
    overlap_min: float = Field(0.55, ge=0, le=1, description="Overlap above which places are one.")
    similarity_min: float = Field(
        0.6, ge=0, le=1, description="Likeness from which texts support each other."
    )
    score_min: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Least score of a region or triplet that has one; that of a label is its "
        "likelihood as a part of that of the likeliest. A model that has learned from noisy labels "
        "is less sure than it is right.",
    )
    text_ratio_min: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Least score of a text, as a part of the best of its image and granularity; "
        "the model scores the texts of the labels.",
    )
    texts_max: int = Field(
        default=1,
        ge=1,
        description="Texts of an image and granularity; those of the labels come first.",
    )

    @model_validator(mode="after")
    def _trains_no_head(self) -> Self:
        if self.head != "none":
            raise ValueError("--head: rounds train the language model, which annotates")
        return self

    def identity(self) -> dict[str, object]:
        """Return the settings that decide what a round is."""
        return self.model_dump(mode="json", exclude=set(_NO_MATTER))

    def train_settings(self, data: str, out: Path, model: str) -> TrainSettings:
        """Return the settings of a round's training."""
        # Some settings may be given only with others, so those that were not given stay so.
        names = self.model_fields_set & TrainSettings.model_fields.keys()
        given = {name: getattr(self, name) for name in names}
        return TrainSettings(
            **{**given, "data": data, "out": out, "model": model, "validation": ""}
        )

    def filter_settings(self) -> FilterSettings:
        """Return the settings of the filter."""
        return FilterSettings(**{name: getattr(self, name) for name in FilterSettings.model_fields})
