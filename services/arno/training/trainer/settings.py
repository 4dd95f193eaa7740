"""What a user decides about a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from arno.ops.config import ObservabilitySettings
from arno.vocabulary import Task

_LEARNING_RATE_FULL = 1e-5
_LEARNING_RATE_LORA = 2e-4


class DataSettings(ObservabilitySettings):
    """What is learned from, and what is learned."""

    data: str = Field(
        min_length=1,
        description="What to learn from: FILE.jsonl, coco:FILE.json,images=DIR[,tasks=OD+..] or "
        "world:seed=N,n=COUNT; several with ; between.",
    )
    validation: str = Field(
        "", description="Data that is never learned from; its loss is measured at each checkpoint."
    )
    tasks: tuple[Task, ...] = Field(
        (), description="Take the samples of these tasks alone; none: all that the data has."
    )
    bad_samples_max: int = Field(
        10, ge=0, description="So many broken samples are passed over; one more stops the run."
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="Of the order of the samples, of LoRA's start, of dropout."
    )
    loader_processes: int = Field(
        1, ge=0, le=64, description="Processes that read ahead, for each device; 0: none."
    )


class ScheduleSettings(DataSettings):
    """How long, in which portions and how fast."""

    steps: int = Field(0, ge=0, description="Steps of the optimiser; 0: as many as --epochs need.")
    epochs: float = Field(3.0, gt=0, description="How often each sample is seen, without --steps.")
    batch: int = Field(8, ge=1, description="Samples a step, over all processes.")
    micro_batch: int = Field(
        8, ge=1, description="Most samples on a device at once; less memory, the same gradients."
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak of the cosine schedule; none: 1e-5 for the whole model, 2e-4 for LoRA.",
    )
    warm_up_part: float = Field(
        0.05, ge=0, lt=1, description="Part of the steps in which the learning rate rises."
    )
    weight_decay: float = Field(0.01, ge=0, description="Of matrices; norms and biases have none.")
    gradient_norm_max: float = Field(1.0, gt=0, description="Longer gradients are shortened to it.")


class TrainSettings(ScheduleSettings):
    """Settings of `arno train`."""

    model: str = Field(
        "tiny", min_length=1, description="What to start from: tiny, a folder, or a cached hub id."
    )
    out: Path = Field(
        description="Folder for model, checkpoint, log and loss curve; a run found there goes on."
    )
    lora_rank: int = Field(
        0, ge=0, le=1024, description="Rank of LoRA's matrices; 0 trains the weights themselves."
    )
    lora_alpha: float = Field(
        0.0, ge=0, description="LoRA's weight, divided by its rank; 0: twice the rank."
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in front of LoRA's matrices.")
    freeze_vision: bool = Field(False, description="Leave the vision tower as it is.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="cpu, cuda, cuda:N, or auto: a GPU where there is one.",
    )
    threads: int = Field(
        0, ge=0, description="CPU threads of each process; 0 leaves the choice to the library."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Of the arithmetic (weights are kept in float32); auto: bfloat16 on GPU.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute layers twice to keep less in memory."
    )
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the saved weights; auto: that of --model."
    )
    checkpoint_steps: int = Field(
        100, ge=1, description="Steps between two checkpoints; a killed run loses less than that."
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
