"""`arno batch` over 2,000 rendered images, killed three times, and over a broken tenth."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from arno.bulk import read_records
from support.arno_up import start_arno
from support.images import encoded
from support.videos import numbered_picture

from benchmarks.stack import running_stack

_IMAGES: Final = 2000
_KILLS: Final = 3
_SHARD: Final = 100
_MIXED: Final = 1000
_RUN_S: Final = 600.0
_BROKEN_EVERY: Final = 10


def measure_batch() -> dict[str, Any]:
    """Return how often images were answered, over four runs of which three were killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, out = folder / "photos", folder / "seen"
        photos.mkdir()
        for number in range(_IMAGES):
            picture = encoded(numbered_picture(number), "PNG")
            (photos / f"{number:04d}.png").write_bytes(picture)
        servers = folder / "stack"
        servers.mkdir()
        with running_stack(servers, bus="redis") as stack:
            words: list[str | Path] = [
                "batch",
                photos,
                "--task",
                "OD",
                "--out",
                out,
                "--address",
                stack.target,
            ]
            words += ["--shard-size", str(_SHARD)]
            started_s = time.monotonic()
            for kills in range(1, _KILLS + 1):
                _run_and_kill(words, out, kills, folder / "batch.log")
            exit_code = start_arno(*words, log=folder / "batch.log").wait(_RUN_S)
            elapsed_s = time.monotonic() - started_s
            broken = _with_broken_files(folder, stack.target)
        times = Counter(record.key for record in read_records(out))
    return {
        "images": _IMAGES,
        "kills": _KILLS,
        "exit_code": exit_code,
        "answered": len(times),
        "answered_more_than_once": sum(count > 1 for count in times.values()),
        "elapsed_s": elapsed_s,
        "broken": broken,
    }


def _with_broken_files(folder: Path, target: str) -> dict[str, Any]:
    """Ask about 1,000 files of which 100 are cut off or no images."""
    photos, out = folder / "mixed", folder / "mixed-seen"
    photos.mkdir()
    for number in range(_MIXED):
        content = encoded(numbered_picture(number), "PNG")
        if number % _BROKEN_EVERY == 0:
            content = content[: len(content) // 2] if number % 20 else b"no image"
        (photos / f"{number:04d}.png").write_bytes(content)
    words: list[str | Path] = ["batch", photos, "--task", "OD", "--out", out, "--address", target]
    exit_code = start_arno(*words, log=folder / "mixed.log").wait(_RUN_S)
    failures = (out / "failures.jsonl").read_text().splitlines()
    return {
        "files": _MIXED,
        "answered": sum(1 for _ in read_records(out)),
        "failures": len(failures),
        "exit_code": exit_code,
    }


def _run_and_kill(words: list[str | Path], out: Path, kills: int, log: Path) -> None:
    """Kill a run once it has written its share of the shards."""
    wanted = kills * _IMAGES // _SHARD // (_KILLS + 1)
    run = start_arno(*words, log=log)
    while run.poll() is None and len(list((out / "shards").glob("0*"))) < wanted:
        time.sleep(0.02)
    run.kill()
    run.wait()
