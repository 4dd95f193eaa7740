"""The record of a run: `log.jsonl`, the picture of its losses, and the progress on the console."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_FILE: Final = "log.jsonl"
VALIDATION_LOSS: Final = "validation_loss"
_PICTURE: Final = "loss.png"
_SMOOTHED_OVER: Final = 20
_LINES: Final = 20
"""Lines of progress in a whole run where the console is no terminal."""
_FIXED: Final = ("loss", "learning_rate", "gradient_norm", "sample_rate")


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """The figures of a finished step, or the means of several.

    Attributes:
        step: Number of the step, from 1.
        loss: The loss that was minimised; of `arno train` the mean cross-entropy of answer tokens.
        learning_rate: Learning rate of the step.
        gradient_norm: Norm of the gradient before clipping.
        sample_rate: Samples a second, over all processes.
        measured: Further figures by name: parts of the loss, and evaluations after this step.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    sample_rate: float
    measured: Mapping[str, float] = field(default_factory=dict)


class Log:
    """The steps of a run, in a file that a resumed run continues."""

    def __init__(self, out: Path, done: int, *, every: int = 1) -> None:
        """Open the log and drop lines of steps after `done`, which a killed run has left.

        Args:
            out: The folder of the run.
            done: Number of steps that the run's checkpoint has done.
            every: Number of steps whose means make one line.
        """
        self._path = out / LOG_FILE
        self._picture = out / _PICTURE
        self._every = every
        self._pending: list[LoggedStep] = []
        self.steps = [step for step in _read(self._path) if step.step <= done]
        self._path.write_text("".join(map(_line, self.steps)))

    def append(self, step: LoggedStep) -> LoggedStep | None:
        """Add a step; return what was written, or None where the line is not complete."""
        self._pending.append(step)
        if step.step % self._every:
            return None
        written = _mean(self._pending)
        self._pending.clear()
        self.steps.append(written)
        with self._path.open("a") as file:
            file.write(_line(written))
        return written

    def draw(self) -> None:
        """Draw loss and learning rate over the steps."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.add_subplot()
        numbers = [step.step for step in self.steps]
        losses = [step.loss for step in self.steps]
        axes.plot(numbers, losses, color="tab:blue", alpha=0.25, label="loss of each step")
        axes.plot(numbers, _smooth(losses), color="tab:blue", label="smoothed")
        validated = [step for step in self.steps if VALIDATION_LOSS in step.measured]
        if validated:
            axes.plot(
                [step.step for step in validated],
                [step.measured[VALIDATION_LOSS] for step in validated],
                "o-",
                color="tab:orange",
                label="validation",
            )
        axes.set(xlabel="step", ylabel="loss", yscale="log")
        axes.legend(loc="upper right")
        rates = axes.twinx()
        rates.plot(numbers, [step.learning_rate for step in self.steps], color="tab:grey", ls=":")
        rates.set_ylabel("learning rate (dotted)")
        figure.savefig(self._picture, dpi=110)


class ProgressBar:
    """The progress of one run: a bar on a terminal, a line now and then elsewhere. One thread."""

    def __init__(
        self, console: Console, step_count: int, done: int, *, shown: Sequence[str] = ()
    ) -> None:
        """Start to show; `shown` names the measured figures that stand beside the loss."""
        self._console = console
        self._shown = shown
        self._every = max(1, step_count // _LINES)
        self._printed = done // self._every
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=step_count, completed=done, facts="")
        self._bar.start()

    def show(self, step: LoggedStep) -> None:
        """Show a finished step."""
        facts = f"loss {step.loss:.4f}  lr {step.learning_rate:.2e}  {step.sample_rate:.1f}/s"
        for name in self._shown:
            if name in step.measured:
                facts += f"  {name.removesuffix('_loss')} {step.measured[name]:.4f}"
        self._bar.update(self._task, completed=step.step, facts=facts)
        due = step.step // self._every
        if not self._console.is_terminal and due > self._printed:
            self._printed = due
            self._console.print(f"step {step.step}  {facts}", highlight=False)

    def close(self) -> None:
        """Stop showing."""
        self._bar.stop()


def _mean(steps: Sequence[LoggedStep]) -> LoggedStep:
    """Return the means of several steps under the number of the last; measured ones where known."""
    if len(steps) == 1:
        return steps[0]
    values: dict[str, list[float]] = {}
    for step in steps:
        for name, value in step.measured.items():
            values.setdefault(name, []).append(value)
    fixed = {name: fmean(getattr(step, name) for step in steps) for name in _FIXED}
    fixed["learning_rate"] = steps[-1].learning_rate
    measured = {name: fmean(found) for name, found in sorted(values.items())}
    return LoggedStep(steps[-1].step, **fixed, measured=measured)


def _read(path: Path) -> list[LoggedStep]:
    steps = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            document: dict[str, Any] = json.loads(line)
            fixed = {name: document.pop(name) for name in ("step", *_FIXED)}
            steps.append(LoggedStep(**fixed, measured=document))
        except (ValueError, TypeError, KeyError):
            break  # the last line of a killed run may be half a line
    return steps


def _line(step: LoggedStep) -> str:
    fixed = {name: getattr(step, name) for name in ("step", *_FIXED)}
    return json.dumps(fixed | dict(step.measured)) + "\n"


def _smooth(values: list[float]) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        before = smoothed[-1] if smoothed else value
        smoothed.append(before + (value - before) / min(len(smoothed) + 1, _SMOOTHED_OVER))
    return smoothed
