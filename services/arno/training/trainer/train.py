"""Train from settings to a folder: the order in which every kind of `arno train` goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from prometheus_client import CollectorRegistry
from rich.console import Console
from torch.utils.data import Dataset
from transformers.utils.logging import disable_progress_bar

from arno.ops.health import HealthServer, Probes
from arno.training.trainer.batches import RankBatch
from arno.training.trainer.checkpoint import Checkpoint, Progress, Stateful
from arno.training.trainer.export import LearnedFrom, Provenance, hardware, provenance
from arno.training.trainer.log import Log, LoggedStep, ProgressBar
from arno.training.trainer.loop import Parts, TrainingRun, stop_on_signals
from arno.training.trainer.metrics import TrainMetrics
from arno.training.trainer.objective import Evaluator, Objective
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.schedule import schedule_of
from arno.training.trainer.settings import TrainSettings

BatchT = TypeVar("BatchT")


class Learner(Stateful, Protocol):
    """A network of which some weights are trained."""

    @property
    def device(self) -> torch.device:
        """The device of the network."""

    def optimiser(self, settings: TrainSettings) -> torch.optim.Optimizer:
        """Return what moves the trained weights."""


@dataclass(frozen=True, slots=True)
class Plan(Generic[BatchT]):
    """What one kind of training decides about a run.

    Attributes:
        learner: The network.
        learned: The data, and the model that the run starts from.
        objective: The loss of a batch.
        batches: This process's batches by the number of the step.
        evaluator: Measures the network; None measures nothing.
        identity: What decides the weights of each step, beside data, model and schedule: a
            checkpoint of another identity is refused.
        shown: Names of the measured figures that stand beside the loss.
        write: Writes the model of a finished run; returns a line that says how to use it.
    """

    learner: Learner
    learned: LearnedFrom
    objective: Objective[BatchT]
    batches: Dataset[RankBatch[BatchT]]
    evaluator: Evaluator | None
    identity: Mapping[str, Any]
    shown: Sequence[str]
    write: Callable[[Provenance], str]


def train(
    settings: TrainSettings,
    group: ProcessGroup,
    console: Console,
    plan_of: Callable[[TrainSettings, ProcessGroup], Plan[Any]],
) -> bool:
    """Train, or resume the run in the folder; return False where a signal stopped it.

    Args:
        settings: The settings of the run.
        group: All of its processes; the leading one shows the run and writes the model.
        console: Where it is shown.
        plan_of: Loads model and data.

    Raises:
        ArnoError: Model, data or settings cannot be used, too many samples are broken, or the loss
            is not finite.
    """
    _compute_reproducibly()
    settings.out.mkdir(parents=True, exist_ok=True)
    plan = plan_of(settings, group)
    device = plan.learner.device
    group.init(device)
    try:
        run = _run_of(plan, settings, group)
        if not _run_shown(run, plan.shown, settings, group, console):
            return False
        if group.leads:
            origin = provenance(settings, run.progress, plan.learned, hardware(device, group.size))
            console.print(plan.write(origin))
        group.barrier()
        return True
    finally:
        group.destroy()


def _compute_reproducibly() -> None:
    """Have torch compute the same in every run, and transformers show no bars of its own.

    Before the first tensor: otherwise the same seed gives other weights on a GPU.
    """
    # Asked for by cuBLAS for equal sums; read when the first matrix is multiplied.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # No code here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set through its module's class
    untyped_disable: Any = disable_progress_bar
    untyped_disable()  # a run has one bar


def _run_of(
    plan: Plan[BatchT], settings: TrainSettings, group: ProcessGroup
) -> TrainingRun[BatchT]:
    """Put the run together, at its last checkpoint or its beginning."""
    optimiser = plan.learner.optimiser(settings)
    schedule = schedule_of(settings, plan.learned.sample_count, settings.peak_learning_rate)
    parts = Parts(
        objective=plan.objective,
        optimiser=optimiser,
        schedule=schedule,
        dataset=lambda: plan.batches,
        evaluator=plan.evaluator,
    )
    identity = {
        "data": plan.learned.data_digest,
        "model": plan.learned.base_fingerprint,
        **schedule.identity,
        **plan.identity,
    }
    stateful: dict[str, Stateful] = {"weights": plan.learner, "optimiser": optimiser}
    return TrainingRun(settings, parts, Checkpoint(settings.out, identity, stateful), group)


def _run_shown(
    run: TrainingRun[Any],
    shown: Sequence[str],
    settings: TrainSettings,
    group: ProcessGroup,
    console: Console,
) -> bool:
    """Do the remaining steps of a run; return False where a signal stopped it."""
    monitor = _Monitor(settings, run, console, shown) if group.leads else None
    try:
        with stop_on_signals() as request:
            finished = run.run(monitor.report if monitor else _silent, lambda: request.made)
    finally:
        if monitor:
            monitor.close()
    if not finished:
        console.print(f"stopped after step {run.progress.step}; the same command resumes the run")
    return finished


class _Monitor:
    """What the leading process shows: progress bar, log, picture and metrics."""

    def __init__(
        self,
        settings: TrainSettings,
        run: TrainingRun[Any],
        console: Console,
        shown: Sequence[str],
    ) -> None:
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
        self._bar = ProgressBar(console, run.step_count, run.progress.step, shown=shown)

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
