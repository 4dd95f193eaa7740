"""Fine-tune a model from settings to a folder: what `arno train` runs in each process."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console

from arno.training.data import SampleSource, open_data
from arno.training.data.mixture import MixedKinds, read_mixture
from arno.training.trainer.batches import AnswerBatches, Batch
from arno.training.trainer.checkpoint import Checkpoint
from arno.training.trainer.export import LearnedFrom, hardware, provenance, write_model
from arno.training.trainer.log import VALIDATION_LOSS
from arno.training.trainer.loop import Parts, TrainingRun
from arno.training.trainer.model import TrainableModel, load_trainable_model
from arno.training.trainer.monitored import compute_reproducibly, run_monitored
from arno.training.trainer.objective import AnswerObjective, Validation
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.schedule import schedule_of
from arno.training.trainer.settings import TrainSettings
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
    compute_reproducibly()
    settings.out.mkdir(parents=True, exist_ok=True)
    source = open_data(settings.data, tasks=settings.tasks or None, world_split=Split.TRAIN)
    if mixture := read_mixture(settings.mixture):
        source = MixedKinds(source, mixture)
    model = load_trainable_model(settings, group)
    group.init(model.device)
    try:
        return _fine_tune(settings, group, console, source, model)
    finally:
        group.destroy()


def _fine_tune(
    settings: TrainSettings,
    group: ProcessGroup,
    console: Console,
    source: SampleSource,
    model: TrainableModel,
) -> bool:
    run = _run_of(settings, group, source, model)
    if not run_monitored(run, settings, group, console, shown=(VALIDATION_LOSS,)):
        return False
    if group.leads:
        data = LearnedFrom(source.digest, len(source), model.checkpoint.card.fingerprint)
        origin = provenance(settings, run.progress, data, hardware(model.device, group.size))
        folder = write_model(model, settings, origin)
        console.print(f"the model is in {folder}: arno up --model {folder}")
    group.barrier()
    return True


def _run_of(
    settings: TrainSettings, group: ProcessGroup, source: SampleSource, model: TrainableModel
) -> TrainingRun[Batch]:
    """Put the run together, at its last checkpoint or its beginning."""
    optimiser = model.optimiser(settings)
    schedule = schedule_of(settings, len(source), settings.peak_learning_rate)
    batches = AnswerBatches(source, model.collator(), group, settings)
    parts = Parts(
        objective=AnswerObjective(model, settings),
        optimiser=optimiser,
        schedule=schedule,
        dataset=lambda: batches,
        evaluator=_validation(settings, model, group),
    )
    identity: dict[str, Any] = {
        "data": source.digest,
        "model": model.checkpoint.card.fingerprint,
        **schedule.identity,
        **{name: getattr(settings, name) for name in _DECIDING},
    }
    if settings.image_px:  # checkpoints that are older than the setting know the model's own alone
        identity["image_px"] = settings.image_px
    checkpoint = Checkpoint(settings.out, identity, {"weights": model, "optimiser": optimiser})
    return TrainingRun(settings, parts, checkpoint, group)


def _validation(
    settings: TrainSettings, model: TrainableModel, group: ProcessGroup
) -> Validation | None:
    if not settings.validation:
        return None
    source = open_data(
        settings.validation, tasks=settings.tasks or None, world_split=Split.VALIDATION
    )
    return Validation(source, model, group, settings)
