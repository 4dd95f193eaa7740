"""The settings of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from arno.ops.config import ObservabilitySettings, flag_name
from arno.training.trainer.presets import PRESETS
from arno.vocabulary import Task

_LEARNING_RATE_FULL = 1e-5
_LEARNING_RATE_LORA = 2e-4
_LEARNING_RATE_HEAD = 1e-4
_LEAST_TO_NORMALISE = 2
"""Images that a mean over a batch needs."""
_OF_HEADS = frozenset(
    {
        "vision_stages",
        "vision_random",
        "vision_rate",
        "head_width",
        "anchor_px",
        "flip",
        "region_samples",
    }
)
_NOT_OF_HEADS = frozenset(
    {"lora_rank", "freeze_vision", "tasks", "mixture", "gradient_checkpointing"}
)


class DataSettings(ObservabilitySettings):
    """The data of a run, and which part of it is used."""

    help_section = "Data"

    data: str = Field(
        min_length=1,
        description="Training data: DATASET, FILE.jsonl, coco:FILE.json,images=DIR[,tasks=OD+..] "
        "or world:seed=N,n=COUNT; separate several with ;. With --head also masks:DIR,images=DIR,"
        "labels=FILE.",
    )
    validation: str = Field(
        "",
        description="Data that is never trained on; its loss is measured at each checkpoint.",
    )
    tasks: tuple[Task, ...] = Field(
        (), description="Tasks whose samples are used; none: all tasks of the data."
    )
    mixture: str = Field(
        "",
        description="Parts of the kinds of annotation, such as text=1,region=1,triplet=1; none: "
        "as the data has them.",
    )
    bad_samples_max: int = Field(
        10, ge=0, description="Number of broken samples that are skipped; one more fails the run."
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="Seed of sample order, LoRA's matrices and dropout.",
    )
    loader_processes: int = Field(
        1, ge=0, le=64, description="Processes that load samples ahead, per device; 0: none."
    )


class ScheduleSettings(DataSettings):
    """Length, batch size and learning rate of a run."""

    help_section = "Schedule"

    steps: int = Field(0, ge=0, description="Number of steps; 0: as many as --epochs needs.")
    epochs: float = Field(3.0, gt=0, description="Passes over the data, unless --steps is set.")
    batch: int = Field(8, ge=1, description="Samples per step, over all processes.")
    micro_batch: int = Field(
        8,
        ge=1,
        description="Limit on samples per forward pass; less memory, equal gradients.",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate; none: 1e-5 for the whole model, 2e-4 for LoRA, 1e-4 for "
        "heads.",
    )
    warm_up_part: float = Field(
        0.05, ge=0, lt=1, description="Part of the steps in which the learning rate warms up."
    )
    schedule: Literal["cosine", "steps"] = Field(
        "cosine",
        description="How the learning rate falls: as half a cosine, or to a tenth after 67 % and "
        "again after 89 % of the steps.",
    )
    learning_rate_end: float | None = Field(
        None, ge=0, description="Learning rate at the end of the cosine; none: 1 % of the peak."
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of matrices alone.")
    gradient_norm_max: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")


class HeadSettings(ScheduleSettings):
    """What is trained on top of the vision encoder, and how much of the encoder itself."""

    help_section = "Heads on the vision encoder"

    head: Literal["none", "detection", "segmentation"] = Field(
        "none",
        description="Train a head on the vision encoder in place of the language model: Mask "
        "R-CNN or UPerNet.",
    )
    vision_stages: int = Field(
        4,
        ge=0,
        le=4,
        description="With --head: number of last stages of the vision encoder that learn; 0 "
        "freezes it.",
    )
    vision_random: bool = Field(
        False,
        description="With --head: start the vision encoder from random weights, to compare with.",
    )
    vision_rate: float = Field(
        1.0,
        gt=0,
        le=10,
        description="With --head: factor on the learning rate of the vision encoder.",
    )
    head_width: int = Field(
        256, ge=8, le=1024, description="With --head: channels of the feature pyramid."
    )
    anchor_px: int = Field(
        0,
        ge=0,
        description="With --head detection: side of the smallest anchors, in pixels of the "
        "model's square image; 0: a 24th of it, and no less than 4 steps of the finest features.",
    )
    region_samples: int = Field(
        512,
        ge=4,
        le=4096,
        description="With --head detection: proposals of an image that a step learns from; fewer "
        "are faster, and enough where images have few objects.",
    )
    flip: bool = Field(
        True, description="With --head: mirror every other image, chosen at random, left to right."
    )


class TrainSettings(HeadSettings):
    """Settings of `arno train`."""

    help_section = "Training"

    preset: Literal["none", "paper-384", "paper-768", "paper-heads"] = Field(
        "none",
        description="Settings of the Florence-2 paper (docs/paper.md): pre-training at 384, then "
        "at 768 pixels, or 12 epochs of a head. Other flags win over it.",
    )
    model: str = Field(
        "tiny", min_length=1, description="Model to start from: tiny, a folder, or a cached hub id."
    )
    out: Path = Field(
        description="Folder for model, checkpoint, log and loss curve; a run in it is resumed."
    )
    image_px: int = Field(
        0,
        ge=0,
        le=4096,
        description="Side of the square that images are resized to, in pixels; 0: the model's own.",
    )
    lora_rank: int = Field(
        0, ge=0, le=1024, description="Rank of LoRA's matrices; 0 trains the model's own weights."
    )
    lora_alpha: float = Field(
        0.0,
        ge=0,
        description="LoRA's updates are scaled by alpha / rank; 0: twice the rank.",
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in front of LoRA's matrices.")
    freeze_vision: bool = Field(False, description="Do not train the vision tower.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="cpu, cuda, cuda:N, or auto: the first GPU if there is one.",
    )
    threads: int = Field(0, ge=0, description="CPU threads of each process; 0: torch's default.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Number format of the arithmetic; auto: bfloat16 on a GPU, else float32.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass, to save memory."
    )
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the saved weights; auto: that of --model."
    )
    checkpoint_steps: int = Field(
        100, ge=1, description="Steps between two checkpoints; a killed run loses at most these."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = PRESETS.get(given.get("preset", "none"), {})
        return {**preset, **given}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lora_rank == 0 and (self.lora_alpha or self.lora_dropout):
            raise ValueError("--lora-alpha and --lora-dropout need --lora-rank")
        if self.learning_rate_end is not None and self.learning_rate_end > self.peak_learning_rate:
            raise ValueError("--learning-rate-end: above the peak, --learning-rate")
        # Servers list the names of these settings, and have no library that reads images.
        from arno.training.data.mixture import read_mixture

        read_mixture(self.mixture)
        self._check_head()
        return self

    def _check_head(self) -> None:
        if self.head == "none":
            given = sorted(self.model_fields_set & _OF_HEADS)
            if given:
                raise ValueError(f"{', '.join(map(flag_name, given))}: only with --head")
            return
        given = sorted(self.model_fields_set & _NOT_OF_HEADS)
        if given:
            raise ValueError(f"{', '.join(map(flag_name, given))}: not with --head")
        if self.head == "segmentation" and (
            self.micro_batch < _LEAST_TO_NORMALISE
            or 0 < self.batch % self.micro_batch < _LEAST_TO_NORMALISE
        ):
            raise ValueError(
                "--batch, --micro-batch: UPerNet normalises over a batch, so each part of a step "
                f"needs {_LEAST_TO_NORMALISE} images or more"
            )

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after warm-up."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.head != "none":
            return _LEARNING_RATE_HEAD
        return _LEARNING_RATE_LORA if self.lora_rank else _LEARNING_RATE_FULL
