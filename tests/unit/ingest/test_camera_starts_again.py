"""Cameras that start again, as after a full disk: what is said, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import av
from arno.client import FrameResult
from arno.errors import UnavailableError
from arno.ingest.settings import VideoSource
from arno.ingest.videos.cameras import Camera
from support.answered import answered_frame
from support.videos import write_video


def stand_in_client(answers_max: int) -> SimpleNamespace:
    """Return a client that answers frames at once, so many before it is away."""

    def infer_stream(frames, *tasks, options) -> Iterator[FrameResult]:
        for number, frame in enumerate(frames):
            if number == answers_max:
                raise UnavailableError("the gateway is away")
            yield answered_frame(frame.sequence, frame.timestamp_ms)

    return SimpleNamespace(infer_stream=infer_stream)


def camera_of(
    source: Path,
    events: Path,
    on_restart: Callable[[Camera], None] = lambda camera: None,
    *,
    answers_max: int = 1000,
    **more: Path,
) -> Camera:
    """Return a camera that reads a video to its end, or until it fails and is told to stop."""
    metrics = SimpleNamespace(
        told=lambda outcome, latency_s: None,
        up=SimpleNamespace(set=lambda value: None),
        restarts=SimpleNamespace(inc=lambda: on_restart(camera)),
    )
    given = {"name": "gate", "source": str(source), "tasks": ["OD"], "policy": "all"}
    settings = VideoSource(**given, events=events, **more)
    camera = Camera(settings, stand_in_client(answers_max), metrics, open_topic=None)
    return camera


def test_full_disk_is_said_and_the_camera_started_again(tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=1, rate=5)
    said = []

    def restarted(camera: Camera) -> None:
        said.append(camera.problem)
        if len(said) == 2:
            camera.stop()

    camera_of(video, Path("/dev/full"), restarted).run()
    assert said == ["gate: [Errno 28] No space left on device: '/dev/full'"] * 2


def test_half_a_line_that_a_full_disk_has_left_spoils_no_other(tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=1, rate=5)
    events = tmp_path / "gate.jsonl"
    events.write_text('{"sequence": 0}\n{"sequ')
    camera_of(video, events).run()
    first, half, *lines = events.read_text().splitlines()
    assert (json.loads(first), half) == ({"sequence": 0}, '{"sequ')
    assert [json.loads(line)["sequence"] for line in lines] == list(range(5))


def test_annotated_video_of_an_earlier_run_is_kept_beside_the_new_one(tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=1, rate=5)
    for _ in range(3):
        camera_of(video, tmp_path / "gate.jsonl", video=tmp_path / "seen.mp4").run()
    counts = {}
    for path in tmp_path.glob("seen*.mp4"):
        with av.open(str(path)) as container:
            counts[path.name] = sum(1 for _ in container.decode(video=0))
    assert counts == {"seen.mp4": 5, "seen-1.mp4": 5, "seen-2.mp4": 5}


def test_file_goes_on_where_it_was_when_the_gateway_is_back(tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=1, rate=10)
    events = tmp_path / "gate.jsonl"
    restarts = []
    camera_of(video, events, restarts.append, answers_max=6).run()
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(10))
    assert [line["timestamp_ms"] for line in lines] == [100 * number for number in range(10)]
    assert len(restarts) == 1
