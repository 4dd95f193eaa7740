"""Show how far a batch has come: a bar with rate and remaining time, or a line now and then."""

from __future__ import annotations

import time
from collections import deque
from typing import Final, Self

from rich.progress import BarColumn, Progress, TextColumn

from arno.bulk import BatchCounts
from arno.cli.terminal import SafeConsole

_SAMPLES_MAX: Final = 30
_SAMPLE_EVERY_S: Final = 1.0
_LINE_EVERY_S: Final = 10.0


class Pace:
    """The rate of a run over its last half minute, from how many items it has asked about."""

    def __init__(self, now_s: float) -> None:
        """Begin at a moment of the monotonic clock."""
        self._samples: deque[tuple[float, int]] = deque([(now_s, 0)], maxlen=_SAMPLES_MAX)
        self.per_s = 0.0

    def note(self, now_s: float, asked: int) -> None:
        """Note how many items have been asked about so far."""
        since_s, before = self._samples[0]
        if now_s > since_s:
            self.per_s = (asked - before) / (now_s - since_s)
        if now_s - self._samples[-1][0] >= _SAMPLE_EVERY_S:
            self._samples.append((now_s, asked))


class BatchProgress:
    """Progress of one run on standard error."""

    def __init__(self, console: SafeConsole, total: int | None) -> None:
        """Take the console, and the number of items where it is known."""
        self._console = console
        self._total = total
        self._counts = BatchCounts()
        self._pace = Pace(time.monotonic())
        self._line_at_s = time.monotonic()
        columns = TextColumn("asking"), BarColumn(), TextColumn("{task.fields[said]}")
        self._bar = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._task = self._bar.add_task("asking", total=total, said="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, counts: BatchCounts) -> None:
        """Show the counts of a run."""
        now_s = time.monotonic()
        self._counts = counts
        self._pace.note(now_s, counts.answered + counts.failed)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=counts.done, said=self.said())
        elif now_s - self._line_at_s >= _LINE_EVERY_S:
            self._line_at_s = now_s
            self._console.print(self.said())

    def said(self) -> str:
        """Return how far it is, how fast it goes, and how long it will take."""
        counts = self._counts
        of = "" if self._total is None else f" of {self._total:,}"
        parts = [f"{counts.done:,}{of} images", f"{self._pace.per_s:.1f}/s"]
        if self._total is not None and self._pace.per_s > 0:
            left_s = max(0, self._total - counts.done) / self._pace.per_s
            parts.append(f"{duration(left_s)} left")
        if counts.failed:
            parts.append(f"{counts.failed:,} failed")
        return ", ".join(parts)

    def conclude(self, sentence: str) -> None:
        """Take the bar away and print what the run came to."""
        self._bar.stop()
        counts = self._counts
        parts = [f"{counts.answered:,} answered"]
        if counts.failed:
            parts.append(f"{counts.failed:,} failed")
        if counts.known:
            parts.append(f"{counts.known:,} done before")
        self._console.print(f"{', '.join(parts)}; {sentence}", soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a duration as people read it: 42 s, 7 min, 3 h 20 min."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
