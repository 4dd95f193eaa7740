"""Show how far a run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from arno.training.trainer.curve import LoggedStep

_LINES = 20


class ProgressBar:
    """One run's progress. One thread."""

    def __init__(self, console: Console, step_count: int, done: int) -> None:
        """Begin to show."""
        self._console = console
        self._every = max(1, step_count // _LINES)
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
        """Show a step that is done."""
        facts = f"loss {step.loss:.4f}  lr {step.learning_rate:.2e}  {step.sample_rate:.1f}/s"
        if step.validation_loss is not None:
            facts += f"  validation {step.validation_loss:.4f}"
        self._bar.update(self._task, completed=step.step, facts=facts)
        if not self._console.is_terminal and step.step % self._every == 0:
            self._console.print(f"step {step.step}  {facts}", highlight=False)

    def close(self) -> None:
        """Stop showing."""
        self._bar.stop()
