"""What a test does when the machine lacks a part: skip on a laptop, fail where nobody looks."""

from __future__ import annotations

import os

import pytest


def require(condition: object, reason: str) -> None:
    """Go on when the condition holds; else skip the test, or fail it where ``CI`` is set."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"required in CI: {reason}", pytrace=False)
    pytest.skip(reason)
