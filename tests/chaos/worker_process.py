"""Run a real worker process on the echo engine: ``worker_process SETTINGS``."""

import sys
from pathlib import Path

from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings
from chaos.echo_engine import EchoEngine


def main() -> int:
    settings = WorkerSettings.model_validate_json(Path(sys.argv[1]).read_text())
    return run_worker(settings, make_engine=EchoEngine)


if __name__ == "__main__":
    sys.exit(main())
