"""A C++ compiler: a test tool, like a broker."""

from __future__ import annotations

import os
import shutil

import pytest


def require_cpp_compiler() -> None:
    """Skip the test where there is no C++ compiler; fail it there if CI is set."""
    if shutil.which("g++") is None:
        if os.environ.get("CI"):
            pytest.fail("g++ is missing: scripts/install_test_tools brings it")
        pytest.skip("g++ is missing")
