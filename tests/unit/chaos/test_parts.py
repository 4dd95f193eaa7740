"""A part is ready when its newest process says so."""

from __future__ import annotations

import os
from pathlib import Path

from chaos.parts import ProcessPart
from chaos.schedule import Part


def test_process_that_follows_one_that_ended_early_is_ready(tmp_path: Path) -> None:
    marker = tmp_path / "not the first"
    script = f"if test -e '{marker}'; then echo takes jobs from; fi; touch '{marker}'"
    part = ProcessPart(
        Part.WORKER, ["sh", "-c", script], log=tmp_path / "log", environment=dict(os.environ)
    )
    part.launch()
    assert part.wait(timeout_s=30) == 0
    assert not part.ready
    part.launch()
    assert part.wait(timeout_s=30) == 0
    assert part.ready
