"""The run's log, one JSON document a step, and the picture of its losses."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_LOG = "log.jsonl"
_PICTURE = "loss.png"
_SMOOTHED_OVER = 20


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """What is known about a step when it is done.

    Attributes:
        step: Its number, from 1.
        loss: Mean cross-entropy of its answers' tokens.
        learning_rate: That it was made with.
        gradient_norm: Before it was shortened.
        sample_rate: Samples a second, of all processes.
        validation_loss: Where it was measured after this step.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    sample_rate: float
    validation_loss: float | None = None


class Log:
    """The steps of a run, in a file that a later start goes on with."""

    def __init__(self, out: Path, done: int) -> None:
        """Open the log; what a killed run wrote of steps after ``done`` is dropped."""
        self._path = out / _LOG
        self._picture = out / _PICTURE
        self.steps = [step for step in _read(self._path) if step.step <= done]
        self._path.write_text("".join(map(_line, self.steps)))

    def append(self, step: LoggedStep) -> None:
        """Note a step."""
        self.steps.append(step)
        with self._path.open("a") as file:
            file.write(_line(step))

    def draw(self) -> None:
        """Draw loss and learning rate over the steps."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.add_subplot()
        numbers = [step.step for step in self.steps]
        losses = [step.loss for step in self.steps]
        axes.plot(numbers, losses, color="tab:blue", alpha=0.25, label="loss of each step")
        axes.plot(numbers, _smooth(losses), color="tab:blue", label="smoothed")
        measured = [step for step in self.steps if step.validation_loss is not None]
        if measured:
            axes.plot(
                [step.step for step in measured],
                [step.validation_loss for step in measured],  # type: ignore[arg-type]  # none is None
                "o-",
                color="tab:orange",
                label="validation",
            )
        axes.set(xlabel="step", ylabel="cross-entropy a token", yscale="log")
        axes.legend(loc="upper right")
        rates = axes.twinx()
        rates.plot(numbers, [step.learning_rate for step in self.steps], color="tab:grey", ls=":")
        rates.set_ylabel("learning rate (dotted)")
        figure.savefig(self._picture, dpi=110)


def _read(path: Path) -> list[LoggedStep]:
    steps = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            steps.append(LoggedStep(**json.loads(line)))
        except (ValueError, TypeError):
            break  # the last line of a killed run may be half a line
    return steps


def _line(step: LoggedStep) -> str:
    return json.dumps({name: one for name, one in asdict(step).items() if one is not None}) + "\n"


def _smooth(values: list[float]) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        before = smoothed[-1] if smoothed else value
        smoothed.append(before + (value - before) / min(len(smoothed) + 1, _SMOOTHED_OVER))
    return smoothed
