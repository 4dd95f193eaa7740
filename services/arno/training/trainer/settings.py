"""The settings of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from arno.ops.config import ObservabilitySettings
from arno.vocabulary import Task

_LEARNING_RATE_FULL = 1e-5
_LEARNING_RATE_LORA = 2e-4


class DataSettings(ObservabilitySettings):
    """The data of a run, and which part of it is used."""

    data: str = Field(
        min_length=1,
        description="Training data: DATASET, FILE.jsonl, coco:FILE.json,images=DIR[,tasks=OD+..] "
        "or world:seed=N,n=COUNT; separate several with ;.",
    )
    validation: str = Field(
        "",
        description="Data that is never trained on; its loss is measured at each checkpoint.",
    )
    tasks: tuple[Task, ...] = Field(
        (), description="Tasks whose samples are used; none: all tasks of the data."
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
        description="Peak learning rate; none: 1e-5 for the whole model, 2e-4 for LoRA.",
    )
    warm_up_part: float = Field(
        0.05, ge=0, lt=1, description="Part of the steps in which the learning rate warms up."
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of matrices alone.")
    gradient_norm_max: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")


class TrainSettings(ScheduleSettings):
    """Settings of `arno train`."""

    model: str = Field(
        "tiny", min_length=1, description="Model to start from: tiny, a folder, or a cached hub id."
    )
    out: Path = Field(
        description="Folder for model, checkpoint, log and loss curve; a run in it is resumed."
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

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lora_rank == 0 and (self.lora_alpha or self.lora_dropout):
            raise ValueError("--lora-alpha and --lora-dropout need --lora-rank")
        return self

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after warm-up."""
        if self.learning_rate is not None:
            return self.learning_rate
        return _LEARNING_RATE_LORA if self.lora_rank else _LEARNING_RATE_FULL
