"""Cameras whose disk is full: what is said, what is tried again, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from arno.client import FrameResult
from arno.ingest.cameras import Camera
from arno.ingest.settings import VideoSource
from support.answered import answered_frame
from support.videos import write_video


def stand_in_client() -> SimpleNamespace:
    """Return a client that answers every frame at once."""

    def infer_stream(frames, *tasks, options) -> Iterator[FrameResult]:
        for frame in frames:
            yield answered_frame(frame.sequence, frame.timestamp_ms)

    return SimpleNamespace(infer_stream=infer_stream)


def camera_of(
    video: Path, events: Path, on_restart: Callable[[Camera], None] = lambda camera: None
) -> Camera:
    """Return a camera that reads a video to its end, or until it fails and is told to stop."""
    metrics = SimpleNamespace(
        told=lambda outcome, latency_s: None,
        up=SimpleNamespace(set=lambda value: None),
        restarts=SimpleNamespace(inc=lambda: on_restart(camera)),
    )
    source = VideoSource(name="gate", source=str(video), tasks=["OD"], events=events, policy="all")
    camera = Camera(source, stand_in_client(), metrics, open_topic=None)
    return camera


def test_full_disk_is_said_and_the_camera_started_again(tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=1, rate=5)
    said = []

    def restarted(camera: Camera) -> None:
        said.append(camera.problem)
        if len(said) == 2:
            camera.stop()

    camera_of(video, Path("/dev/full"), restarted).run()
    assert said == ["gate: [Errno 28] No space left on device"] * 2


def test_half_a_line_that_a_full_disk_has_left_spoils_no_other(tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=1, rate=5)
    events = tmp_path / "gate.jsonl"
    events.write_text('{"sequence": 0}\n{"sequ')
    camera_of(video, events).run()
    first, half, *lines = events.read_text().splitlines()
    assert (json.loads(first), half) == ({"sequence": 0}, '{"sequ')
    assert [json.loads(line)["sequence"] for line in lines] == list(range(5))
