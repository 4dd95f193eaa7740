"""Measure videos: what reading costs, what painting costs, and whether many share a model fairly.

`measure_reading` and `measure_painting` need no model. `measure_streams` runs ten streams at a real
one, which they overload, and `measure_tracks` follows objects that cross; both compare what is told
with the truth of the scene.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
from arno.ingest.videos.painter import VideoFile
from arno.vocabulary import Region
from support.answered import answered_frame

from benchmarks.machine import BusyTime, describe
from benchmarks.stack import Stack, running_stack
from benchmarks.streams.ingesting import (
    answered,
    lines_of,
    order_of,
    running_ingest,
    when_answered,
)
from benchmarks.streams.scenes import Film, alone, crossing
from benchmarks.streams.truth import painted_iou, told_iou, track_figures

AIMS: Final = {"four_cameras_cores": 1.0, "painted_per_s": 25.0, "iou": 0.6, "share_error": 0.2}

_HD: Final = (1280, 720)
_NOISE: Final = 8
"""Shades: a camera in poor light; the result says to how many Mbit/s of H.264 that comes."""
_LABELS: Final = ("cat", "car", "bus", "dog", "apple", "house", "cup", "flower", "boat", "clock")
_CAMERAS: Final = 4
_FPS: Final = 10
_TICK_S: Final = 0.1
_WATCH_S: Final = 5.0
_SETTLES_S: Final = 120.0
_PAINTED: Final = 250


def measure_reading(*, seconds: float) -> dict[str, Any]:
    """Return how many cores four cameras of 720p at 30 frames/s cost, sampled once a second."""
    film = Film(crossing().walkers, size_px=_HD, rate=30, key_every=30, noise=_NOISE)
    with tempfile.TemporaryDirectory() as name, running_stack(Path(name), bus="redis") as stack:
        video = film.write(Path(name) / "hd.mp4", seconds=seconds)
        turns = [
            {"decoded": decoded, **_read(stack, video, seconds, key_frames=decoded == "key frames")}
            for decoded in ("every frame", "key frames")
        ]
        bits_per_s = 8 * video.stat().st_size / seconds
    return _result(
        "streams-reading",
        seconds=seconds,
        cameras=_CAMERAS,
        mbit_per_s=bits_per_s / 1e6,
        turns=turns,
    )


def _read(stack: Stack, video: Path, seconds: float, *, key_frames: bool) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(dir=stack.folder))
    sources = {
        f"camera{number}": {"source": str(video), "fps": 1, "key_frames": key_frames}
        for number in range(_CAMERAS)
    }
    with running_ingest(stack, folder, sources=sources) as process:
        began_s = when_answered(folder, sources, process)
        used_s = spent_s = _busy_s(process)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            spent_s = max(spent_s, _busy_s(process))
            time.sleep(_TICK_S)
    played_s = min(seconds, time.monotonic() - began_s)
    return {
        "cores": (spent_s - used_s) / played_s,
        "answered": [len(answered(lines_of(folder, name))) for name in sources],
    }


def measure_painting() -> dict[str, Any]:
    """Return how fast one core writes annotated pictures of 720p."""
    film = Film(crossing().walkers, size_px=_HD, rate=25, noise=_NOISE)
    frames = []
    for number in range(25):
        file = io.BytesIO()
        film.picture(number / 25).save(file, "JPEG", quality=90)
        boxes = film.truth(number / 25).values()
        regions = [Region("object", box, score=0.9) for box in boxes]
        frames.append((file.getvalue(), regions))
    with tempfile.TemporaryDirectory() as folder, VideoFile(Path(folder) / "seen.mp4") as video:
        began_s, cpu_s = time.monotonic(), time.process_time()
        for number in range(_PAINTED):
            picture, regions = frames[number % len(frames)]
            video.add(picture, answered_frame(number, 40 * number, *regions))
        cpu_s = time.process_time() - cpu_s
        elapsed_s = time.monotonic() - began_s
    return _result(
        "streams-painting",
        pictures=_PAINTED,
        per_core_s=_PAINTED / cpu_s,
        per_s=_PAINTED / elapsed_s,
        cpu_ms=1000 * cpu_s / _PAINTED,
    )


def measure_streams(*, seconds: float) -> dict[str, Any]:
    """Return the order, the shares, the memory and the boxes of ten streams at arno-tiny."""
    films = {f"{label}{number}": alone(label) for number, label in enumerate(_LABELS)}
    with tempfile.TemporaryDirectory() as name, _tiny(Path(name)) as stack:
        folder = Path(tempfile.mkdtemp(dir=name))
        sources: dict[str, dict[str, Any]] = {
            each: {"source": str(film.write(folder / f"{each}.mp4", seconds=seconds)), "fps": _FPS}
            for each, film in films.items()
        }
        painted = next(iter(sources))
        sources[painted]["video"] = str(folder / "seen.mp4")
        with running_ingest(stack, folder, sources=sources) as process:
            began_s = when_answered(folder, sources, process)
            machine, memory = BusyTime.now((process.pid, *stack.pids.values())), []
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                memory.append({**stack.rss_bytes(), "ingest": _rss(process)})
                time.sleep(_WATCH_S)
            elapsed_s = time.monotonic() - began_s
            later = BusyTime.now((process.pid, *stack.pids.values()))
        told = {each: lines_of(folder, each) for each in sources}
        boxes = painted_iou(films[painted], folder / "seen.mp4", _LABELS[0])
    counts = {each: len(answered(lines)) for each, lines in told.items()}
    mean = sum(counts.values()) / len(counts)
    ious = [found for each, lines in told.items() for found in told_iou(films[each], lines)]
    return _result(
        "streams-ten",
        seconds=seconds,
        fps=_FPS,
        streams={each: order_of(lines) for each, lines in told.items()},
        share_error=max(abs(count - mean) / mean for count in counts.values()),
        answers_per_s=sum(counts.values()) / elapsed_s,
        told_iou=sum(ious) / len(ious),
        painted_iou=sum(boxes) / max(1, len(boxes)),
        painted=len(boxes),
        memory=memory,
        others_cores=machine.others_cores(later, elapsed_s),
    )


def measure_tracks(*, seconds: float) -> dict[str, Any]:
    """Return how well objects that cross are followed, at several rates of sampling."""
    film = crossing()
    turns = []
    with tempfile.TemporaryDirectory() as name, _tiny(Path(name)) as stack:
        video = film.write(Path(name) / "crossing.mp4", seconds=seconds)
        for fps in (10, 5, 2):
            folder = Path(tempfile.mkdtemp(dir=name))
            source = {"source": str(video), "fps": fps, "policy": "all", "realtime": False}
            sources = {"crossing": {**source, "track": True}}
            with running_ingest(stack, folder, sources=sources) as process:
                process.wait(_SETTLES_S + 60 * seconds)
            lines = answered(lines_of(folder, "crossing"))
            overlaps = told_iou(film, lines)
            turns.append(
                {
                    "fps": fps,
                    **track_figures(film, lines),
                    "iou": sum(overlaps) / len(overlaps),
                }
            )
    return _result("streams-tracks", seconds=seconds, turns=turns)


def _result(name: str, **found: Any) -> dict[str, Any]:
    return {"name": name, "kind": name, "machine": describe("cpu"), "aims": AIMS, **found}


@contextmanager
def _tiny(folder: Path) -> Iterator[Stack]:
    with running_stack(folder / "stack", bus="redis", worker={"model": "tiny"}) as stack:
        yield stack


def _busy_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
