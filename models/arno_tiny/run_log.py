"""What a run tells while it goes on: `log.jsonl` for machines, a bar or short lines for people."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_FILE: Final = "log.jsonl"
_SHOWN: Final = ("grid", "letters", "token", "answer")
"""Of the losses, those that a person watches; the file has all."""


class RunLog:
    """Gathers losses and writes their means. One thread, one process of the run."""

    def __init__(self, folder: Path, console: Console, *, step_count: int, batch: int) -> None:
        """Write into ``folder``, and show on ``console``."""
        self._path = folder / LOG_FILE
        self._console = console
        self._batch = batch
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._bar = Progress(
            TextColumn("training arno-tiny"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=step_count, facts="")

    def __enter__(self) -> RunLog:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._bar.stop()

    def count(self, losses: Mapping[str, float], step: int) -> None:
        """Note the losses of a step."""
        for name, value in losses.items():
            self._sums[name] += value
            self._counts[name] += 1
        self._bar.update(self._task, completed=step)

    def write_losses(self, step: int, minutes: float, *, rate: float, learning_rate: float) -> None:
        """Write the means since the last time; ``rate`` in scenes a second."""
        means = {name: value / self._counts[name] for name, value in sorted(self._sums.items())}
        self._sums.clear()
        self._counts.clear()
        self._write(step, minutes, rate=rate, learning_rate=learning_rate, **means)
        shown = "  ".join(f"{name} {means[name]:.3f}" for name in _SHOWN if name in means)
        self._show(step, f"{rate:.1f} scenes/s  {shown}")

    def write_scores(self, step: int, minutes: float, scores: Mapping[str, float]) -> None:
        """Write the number of each task."""
        self._write(step, minutes, **{f"score/{name}": value for name, value in scores.items()})
        shown = "  ".join(f"{name} {value:.2f}" for name, value in scores.items())
        self._console.print(f"step {step}, measured: {shown}", highlight=False, soft_wrap=True)

    def _write(self, step: int, minutes: float, **values: float) -> None:
        line = {
            "step": step,
            "images": step * self._batch,
            "minutes": round(minutes, 2),
            **{name: round(value, 6) for name, value in values.items()},
        }
        with self._path.open("a") as log:
            log.write(json.dumps(line) + "\n")

    def _show(self, step: int, facts: str) -> None:
        self._bar.update(self._task, completed=step, facts=facts)
        if not self._console.is_terminal:
            self._console.print(f"step {step}  {facts}", highlight=False, soft_wrap=True)
