"""Time limits of tests, and of what tests wait for, count seconds of a machine with a free core."""

from __future__ import annotations

import os
import time

import pytest
from support.eventually import Patience


@pytest.mark.parametrize(("threads_per_core", "lasts_s"), [(0.1, 10.0), (1.0, 10.0), (3.0, 30.0)])
def test_limit_lasts_as_much_longer_as_the_machine_is_busy(
    monkeypatch: pytest.MonkeyPatch, threads_per_core: float, lasts_s: float
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    load = threads_per_core * (os.cpu_count() or 1)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    patience = Patience(10.0)
    now_s += lasts_s - 0.1
    assert patience.spend()
    assert patience.left_s == pytest.approx(0.1 * 10.0 / lasts_s)
    now_s += 0.2
    assert not patience.spend()
