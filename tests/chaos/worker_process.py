"""Run a real worker process on the echo engine: ``worker_process SETTINGS``."""

import sys
from pathlib import Path

from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings
from chaos.echo_engine import EchoEngine, slow_file


def main() -> int:
    file = Path(sys.argv[1])
    settings = WorkerSettings.model_validate_json(file.read_text())
    return run_worker(settings, make_engine=lambda made: EchoEngine(made, slow_file(file)))


if __name__ == "__main__":
    sys.exit(main())
