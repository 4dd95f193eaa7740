"""Processes that must start small never load the model's libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORBIDDEN = ("torch", "transformers", "cv2", "av", "numpy")


@pytest.mark.parametrize("module", ["arno.gateway.main", "arno.web.main"])
def test_process_loads_no_model_library(module):
    probe = f"import sys, {module}; print(*sorted({FORBIDDEN!r} & sys.modules.keys()))"
    probe = probe.replace(repr(FORBIDDEN), f"set({FORBIDDEN!r})")
    found = subprocess.run(
        [sys.executable, "-c", probe], check=True, capture_output=True, text=True, timeout=100
    )
    assert found.stdout.split() == []
