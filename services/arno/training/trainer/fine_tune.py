"""Fine-tune a model from settings to a folder: what `arno train` runs in each process."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console

from arno.training.data import open_data
from arno.training.data.mixture import MixedKinds, read_mixture
from arno.training.trainer.batches import AnswerBatches, Batch
from arno.training.trainer.export import LearnedFrom, Provenance, write_model
from arno.training.trainer.log import VALIDATION_LOSS
from arno.training.trainer.model import TrainableModel, load_trainable_model
from arno.training.trainer.objective import AnswerObjective, Validation
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings
from arno.training.trainer.train import Plan, train
from arno.training.world import Split

_DECIDING: Final = (
    "seed",
    "batch",
    "weight_decay",
    "gradient_norm_max",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "freeze_vision",
    "precision",
)
"""Settings that decide the weights of each step. Micro-batches, processes and devices do not."""


def fine_tune(settings: TrainSettings, group: ProcessGroup, console: Console) -> bool:
    """Train, or resume the run in the folder; return False where a signal stopped it.

    Raises:
        ArnoError: Model, data or settings cannot be used, or too many samples are broken.
    """
    return train(settings, group, console, _plan)


def _plan(settings: TrainSettings, group: ProcessGroup) -> Plan[Batch]:
    source = open_data(settings.data, tasks=settings.tasks or None, world_split=Split.TRAIN)
    if mixture := read_mixture(settings.mixture):
        source = MixedKinds(source, mixture)
    model = load_trainable_model(settings, group)

    def write(origin: Provenance) -> str:
        folder = write_model(model, settings, origin)
        return f"the model is in {folder}: arno up --model {folder}"

    identity: dict[str, Any] = {name: getattr(settings, name) for name in _DECIDING}
    if settings.image_px:  # checkpoints that are older than the setting know the model's own alone
        identity["image_px"] = settings.image_px
    return Plan(
        learner=model,
        learned=LearnedFrom(source.digest, len(source), model.checkpoint.card.fingerprint),
        objective=AnswerObjective(model, settings),
        batches=AnswerBatches(source, model.collator(), group, settings),
        evaluator=_validation(settings, model, group),
        identity=identity,
        shown=(VALIDATION_LOSS,),
        write=write,
    )


def _validation(
    settings: TrainSettings, model: TrainableModel, group: ProcessGroup
) -> Validation | None:
    if not settings.validation:
        return None
    source = open_data(
        settings.validation, tasks=settings.tasks or None, world_split=Split.VALIDATION
    )
    return Validation(source, model, group, settings)
