"""`arno worker`: run the model on jobs."""

from __future__ import annotations

import click

from arno.cli.settings_names import KNOWN_SETTINGS
from arno.ops.flags import settings_options
from arno.worker.settings import WorkerSettings


@click.command("worker")
@settings_options(WorkerSettings, process="worker", known_elsewhere=KNOWN_SETTINGS)
def verb(settings: WorkerSettings) -> int:
    """Run the model on jobs from the bus; one worker owns one device.

    Stops in order on SIGTERM or Ctrl-C: work in hand is finished or handed back. Settings come from
    flags, then ARNO_* variables, then the file, then defaults.

    \b
    Example:
      arno worker --model ./Florence-2-base-ft --device cuda:0 \\
          --kafka-bootstrap kafka:9092 --redis-url redis://redis:6379/0
    """
    from arno.worker.main import run_worker

    return run_worker(settings)
