"""Do a run and show it: progress bar, log, picture and metrics; what all kinds of runs share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from prometheus_client import CollectorRegistry
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from arno.ops.health import HealthServer, Probes
from arno.training.trainer.checkpoint import Progress
from arno.training.trainer.log import Log, LoggedStep, ProgressBar
from arno.training.trainer.loop import TrainingRun, stop_on_signals
from arno.training.trainer.metrics import TrainMetrics
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings


def compute_reproducibly() -> None:
    """Have torch compute the same in every run, and transformers show no bars of its own.

    Before the first tensor: otherwise the same seed gives other weights on a GPU.
    """
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # No code here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set through its module's class
    untyped_disable: Any = disable_progress_bar
    untyped_disable()  # a run has one bar


def run_monitored(
    run: TrainingRun[Any],
    settings: TrainSettings,
    group: ProcessGroup,
    console: Console,
    *,
    shown: Sequence[str],
) -> bool:
    """Do the remaining steps of a run; return False where a signal stopped it.

    Args:
        run: The run.
        settings: Its settings.
        group: All of its processes; the leading one shows the run.
        console: Where it is shown.
        shown: Names of the measured figures that stand beside the loss.

    Raises:
        ArnoError: Too many samples are broken, or the loss is not finite.
    """
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
