"""Fine-tune a model from settings to a folder: what `arno train` runs in each process."""

from __future__ import annotations

from typing import Any, Final

import torch
from prometheus_client import CollectorRegistry
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from arno.ops.health import HealthServer, Probes
from arno.training.data import SampleSource, open_data
from arno.training.origin import source_commit
from arno.training.trainer.batches import Batch, RankBatches
from arno.training.trainer.checkpoint import Checkpoint, Progress
from arno.training.trainer.export import Provenance, hardware, write_model
from arno.training.trainer.log import VALIDATION_LOSS, Log, LoggedStep, ProgressBar
from arno.training.trainer.loop import Parts, TrainingRun, stop_on_signals
from arno.training.trainer.metrics import TrainMetrics
from arno.training.trainer.model import TrainableModel, load_trainable_model
from arno.training.trainer.objective import AnswerObjective, Validation
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.schedule import CosineSchedule
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
    # Before the first tensor: otherwise the same seed gives other weights on a GPU.
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # No code here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set through its module's class
    untyped_disable: Any = disable_progress_bar
    untyped_disable()  # a run has one bar
    settings.out.mkdir(parents=True, exist_ok=True)
    source = open_data(settings.data, tasks=settings.tasks or None, world_split=Split.TRAIN)
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
    monitor = _Monitor(settings, run, console) if group.leads else None
    try:
        with stop_on_signals() as request:
            finished = run.run(monitor.report if monitor else _silent, lambda: request.made)
    finally:
        if monitor:
            monitor.close()
    if not finished:
        console.print(f"stopped after step {run.progress.step}; the same command resumes the run")
        return False
    if group.leads:
        folder = write_model(model, settings, _provenance(settings, run, source, model, group))
        console.print(f"the model is in {folder}: arno up --model {folder}")
    group.barrier()
    return True


def _run_of(
    settings: TrainSettings, group: ProcessGroup, source: SampleSource, model: TrainableModel
) -> TrainingRun[Batch]:
    """Put the run together, at its last checkpoint or its beginning."""
    optimiser = model.optimiser(settings)
    schedule = CosineSchedule.of(settings, len(source), settings.peak_learning_rate)
    batches = RankBatches(source, model.collator(), group, settings)
    parts = Parts(
        objective=AnswerObjective(model, settings),
        optimiser=optimiser,
        schedule=schedule,
        dataset=lambda: batches,
        evaluator=_validation(settings, model, group),
    )
    identity = {
        "data": source.digest,
        "model": model.checkpoint.card.fingerprint,
        "steps": schedule.step_count,
        "warm_up_steps": schedule.warm_up_steps,
        "learning_rate": schedule.peak,
        **{name: getattr(settings, name) for name in _DECIDING},
    }
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


class _Monitor:
    """What the leading process shows: progress bar, log, picture and metrics."""

    def __init__(self, settings: TrainSettings, run: TrainingRun[Batch], console: Console) -> None:
        self._settings, self._console = settings, console
        self._progress: Progress = run.progress
        self._log = Log(settings.out, run.progress.step)
        self._broken = len(run.progress.errors)
        registry = CollectorRegistry()
        self._metrics = TrainMetrics(registry)
        self._metrics.plan(run.step_count, run.progress.step)
        self._server = serve_metrics(settings, registry)
        console.print(
            f"step {run.progress.step} of {run.step_count}, metrics at "
            f"http://{settings.metrics_host}:{self._server.port}/metrics",
            highlight=False,
        )
        self._bar = ProgressBar(
            console, run.step_count, run.progress.step, shown=(VALIDATION_LOSS,)
        )

    def report(self, step: LoggedStep) -> None:
        self._log.append(step)
        errors = list(self._progress.errors.values())
        self._metrics.observe(step, samples=self._settings.batch, broken=len(errors))
        for error in errors[self._broken :]:
            self._console.print(f"broken, passed over: {error}", highlight=False)
        self._broken = len(errors)
        self._bar.show(step)
        if step.step % self._settings.checkpoint_steps == 0:
            self._log.draw()

    def close(self) -> None:
        self._bar.close()
        if self._log.steps:
            self._log.draw()
        self._server.close()


def serve_metrics(settings: TrainSettings, registry: CollectorRegistry) -> HealthServer:
    """Serve the metrics of a run at the address of the settings.

    Raises:
        ConfigurationError: The address is taken.
    """
    server = HealthServer(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=registry,
        probes=Probes(),
    )
    server.start()
    return server


def _silent(_step: LoggedStep) -> None:
    """Report nothing: the leading process does."""


def _provenance(
    settings: TrainSettings,
    run: TrainingRun[Batch],
    source: SampleSource,
    model: TrainableModel,
    group: ProcessGroup,
) -> Provenance:
    log = Log(settings.out, run.progress.step)
    return Provenance(
        base=settings.model,
        base_fingerprint=model.checkpoint.card.fingerprint,
        data=settings.data,
        data_digest=source.digest,
        sample_count=len(source),
        bad_sample_count=len(run.progress.errors),
        settings=settings.model_dump(mode="json"),
        steps=run.progress.step,
        loss=log.steps[-1].loss if log.steps else float("nan"),
        commit=source_commit() or "",
        hardware=hardware(model.device, group.size),
        trained_s=run.progress.trained_s,
    )
