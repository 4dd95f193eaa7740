"""Run a real worker process on a gated null engine: ``worker_child SETTINGS GATE``."""

import sys
from pathlib import Path

from arno.engine import create_engine
from arno.worker.main import run_worker
from arno.worker.settings import WorkerSettings
from support.gated_engine import GatedEngine


def main() -> int:
    settings = WorkerSettings.model_validate_json(Path(sys.argv[1]).read_text())
    gate = Path(sys.argv[2])
    return run_worker(settings, make_engine=lambda s: GatedEngine(create_engine(s), gate))


if __name__ == "__main__":
    sys.exit(main())
