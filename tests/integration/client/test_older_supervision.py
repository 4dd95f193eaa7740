"""`to_supervision` with the oldest version of supervision that Arno says it works with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.availability import require

ROOT = Path(__file__).resolve().parents[3]
OLDER = ROOT / ".tools" / "supervision_0_27"
TESTS = ROOT / "tests" / "unit" / "client" / "test_exports.py"


def test_exports_for_supervision_hold_with_its_oldest_version():
    require((OLDER / "installed").exists(), "supervision 0.27 (make tools)")
    # The tests of `to_supervision` again, in a process that finds the older version first.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(TESTS), "-k", "test_supervision"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(OLDER)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    version = [sys.executable, "-c", "import supervision; print(supervision.__version__)"]
    found = subprocess.run(
        version, env={"PYTHONPATH": str(OLDER)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "0.27.0"
