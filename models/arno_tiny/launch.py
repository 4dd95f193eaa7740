"""Start the processes of a training run and wait for them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from arno.training.process import keep_freed_memory
from rich.console import Console
from torch.multiprocessing.spawn import spawn

from models.arno_tiny.crew import Crew
from models.arno_tiny.loop import Recipe, Run


def launch(folder: Path, recipe: Recipe, workers: int) -> None:
    """Train in ``folder`` with ``workers`` processes of one thread each."""
    with tempfile.TemporaryDirectory() as scratch:
        meeting_point = Path(scratch) / "meeting-point"
        spawn(  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _train, args=(workers, meeting_point, folder, recipe), nprocs=workers
        )


def _train(rank: int, workers: int, meeting_point: Path, folder: Path, recipe: Recipe) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    crew = Crew.join(rank, workers, meeting_point)
    Run(folder, recipe, Console(quiet=not crew.leads), crew).train()
    crew.leave()
