"""Train from settings to a folder: what the command line runs in each process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from prometheus_client import CollectorRegistry
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from arno.ops.health import HealthServer
from arno.training.data import SampleSource, open_data
from arno.training.source_code import source_commit
from arno.training.trainer.curve import Log, LoggedStep
from arno.training.trainer.export import (
    Provenance,
    hardware,
    versions,
    write_model,
)
from arno.training.trainer.learner import Learner, load_learner
from arno.training.trainer.metrics import TrainMetrics
from arno.training.trainer.progress_bar import ProgressBar
from arno.training.trainer.ranks import Ranks
from arno.training.trainer.run import Run
from arno.training.trainer.saved_state import Progress
from arno.training.trainer.settings import TrainSettings
from arno.training.trainer.validation import Validation
from arno.training.world import Split


def train(settings: TrainSettings, ranks: Ranks, console: Console) -> bool:
    """Train, or go on with what the folder holds; return False where a signal stopped it.

    Raises:
        ArnoError: Model, data or settings cannot be used, or too many samples are broken.
    """
    # Before the first tensor: otherwise the same seed gives other weights on a GPU.
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set through its module's class
    untyped_disable: Any = disable_progress_bar
    untyped_disable()  # a run has one bar
    settings.out.mkdir(parents=True, exist_ok=True)
    source = _open(settings, settings.data)
    learner = load_learner(settings, ranks)
    ranks.meet(learner.device)
    try:
        return _train(settings, ranks, console, source, learner)
    finally:
        ranks.part()


def _open(settings: TrainSettings, text: str) -> SampleSource:
    tasks = settings.tasks or None
    return open_data(text, tasks=tasks, world_split=Split.TRAIN)


def _train(
    settings: TrainSettings,
    ranks: Ranks,
    console: Console,
    source: SampleSource,
    learner: Learner,
) -> bool:
    run = Run(settings, learner, source, ranks, _validation(settings, learner, ranks))
    watch = _Watch(settings, run, console) if ranks.leads else None
    try:
        with _signals() as asked:
            finished = run.go_on(watch.report if watch else _silent, lambda: asked.to_stop)
    finally:
        if watch:
            watch.close()
    if not finished:
        console.print(f"stopped after step {run.progress.step}; the same command goes on")
        return False
    if watch:
        folder = write_model(learner, settings, _provenance(settings, run, source, learner, ranks))
        console.print(f"the model is in {folder}: arno up --model {folder}")
    ranks.wait()
    return True


def _validation(settings: TrainSettings, learner: Learner, ranks: Ranks) -> Validation | None:
    if not settings.validation:
        return None
    source = open_data(
        settings.validation, tasks=settings.tasks or None, world_split=Split.VALIDATION
    )
    return Validation(source, learner.collator(), ranks, micro_batch=settings.micro_batch)


class _Watch:
    """What the leading process shows: progress bar, log, picture and metrics."""

    def __init__(self, settings: TrainSettings, run: Run, console: Console) -> None:
        self._settings, self._console = settings, console
        self._log = Log(settings.out, run.progress.step)
        self._bad = len(run.progress.faults)
        registry = CollectorRegistry()
        self._metrics = TrainMetrics(registry)
        self._metrics.plan(run.schedule.step_count, run.progress.step)
        self._server = _serve(settings, registry)
        console.print(
            f"step {run.progress.step} of {run.schedule.step_count}, metrics at "
            f"http://{settings.metrics_host}:{self._server.port}/metrics",
            highlight=False,
        )
        self._bar = ProgressBar(console, run.schedule.step_count, run.progress.step)

    def report(self, step: LoggedStep, progress: Progress) -> None:
        self._log.append(step)
        self._metrics.observe(step, samples=self._settings.batch, bad=len(progress.faults))
        for fault in list(progress.faults.values())[self._bad :]:
            self._console.print(f"broken, passed over: {fault}", highlight=False)
        self._bad = len(progress.faults)
        self._bar.show(step)
        if progress.step % self._settings.checkpoint_steps == 0:
            self._log.draw()

    def close(self) -> None:
        self._bar.close()
        if self._log.steps:
            self._log.draw()
        self._server.close()


def _serve(settings: TrainSettings, registry: CollectorRegistry) -> HealthServer:
    server = HealthServer(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=registry,
        not_ready=lambda: (),
    )
    server.start()
    return server


def _silent(_step: LoggedStep, _progress: Progress) -> None:
    """Report nothing: another process does."""


def _provenance(
    settings: TrainSettings, run: Run, source: SampleSource, learner: Learner, ranks: Ranks
) -> Provenance:
    log = Log(settings.out, run.progress.step)
    return Provenance(
        base=settings.model,
        base_fingerprint=learner.checkpoint.card.fingerprint,
        data=settings.data,
        data_digest=source.digest,
        sample_count=len(source),
        bad_sample_count=len(run.progress.faults),
        settings=settings.model_dump(mode="json"),
        steps=run.progress.step,
        loss=log.steps[-1].loss if log.steps else float("nan"),
        commit=source_commit() or "",
        hardware=hardware(learner.device, ranks.count),
        trained_s=run.progress.trained_s,
        **versions(),
    )


@dataclass(slots=True)
class _Asked:
    to_stop: bool = False


@contextmanager
def _signals() -> Iterator[_Asked]:
    """Note SIGINT and SIGTERM instead of dying: the step is finished and saved. Twice: die."""
    asked = _Asked()
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _frame: object) -> None:
        asked.to_stop = True
        signal.signal(number, before[signal.Signals(number)])

    for one in (signal.SIGINT, signal.SIGTERM):
        before[one] = signal.signal(one, note)
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
