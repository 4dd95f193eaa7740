"""`arno ingest` with sources: an RTSP camera that dies and returns, and a file, side by side."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import urllib.error
import urllib.request
from itertools import pairwise

import pytest
from arno.ingest.service import serve
from arno.ingest.settings import IngestSettings
from arno.ingest.videos import frames, pictures
from arno.ingest.videos.frames import read_source, undisturbed
from arno.ingest.videos.pictures import SourceOptions
from arno.ops.ports import free_port
from support.arno_up import ArnoUp, start_arno
from support.availability import require
from support.eventually import eventually
from support.redis_server import WAYS_TO_GET_IT, redis_executables
from support.rtsp_server import WAYS_TO_GET_IT as RTSP_IS_MISSING
from support.rtsp_server import RtspServer, rtsp_available
from support.scripted_gateway import ScriptedGateway, scripted_gateway
from support.videos import write_video

pytestmark = pytest.mark.redis


@pytest.fixture
def up(tmp_path):
    require(redis_executables(), WAYS_TO_GET_IT)
    up = ArnoUp(tmp_path)
    yield up
    assert up.stop() == 0


@pytest.fixture
def camera(tmp_path):
    require(rtsp_available(), RTSP_IS_MISSING)
    server = RtspServer(tmp_path)
    yield server
    server.stop()


class Service:
    """`arno ingest` with these sources."""

    def __init__(self, folder, address: str, *sources: dict[str, object]) -> None:
        self.folder, self.port = folder, free_port()
        config = folder / "streams.yaml"
        named = [
            {"tasks": ["OD"], "events": str(folder / f"{one['name']}.jsonl"), **one}
            for one in sources
        ]
        config.write_text(
            json.dumps({"address": address, "sources": named, "metrics_port": self.port})
        )
        self.log = folder / "ingest.log"
        self.process = start_arno("ingest", "--config", config, log=self.log)

    def lines(self, name: str) -> list[dict[str, object]]:
        assert self.process.poll() is None, self.log.read_text()
        path = self.folder / f"{name}.jsonl"
        # The last line may be half written.
        return (
            [json.loads(line) for line in path.read_text().splitlines()[:-1]]
            if path.exists()
            else []
        )

    def get(self, page: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{page}", timeout=5) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


def test_camera_that_dies_and_returns_goes_on_and_disturbs_no_other_source(up, camera, tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=4, rate=10)
    camera.start()
    service = Service(
        tmp_path,
        up.address,
        {"name": "gate", "source": camera.url, "fps": 5, "video": str(tmp_path / "seen.mp4")},
        {"name": "file", "source": str(video), "policy": "all"},
        {"name": "none", "source": "rtsp://127.0.0.1:1/none"},
    )
    try:
        eventually(lambda: len(service.lines("gate")) >= 5, what="the camera is answered")
        before = len(service.lines("gate"))
        camera.kill()
        camera.start()
        eventually(lambda: len(service.lines("gate")) >= before + 8, what="it goes on")
        eventually(lambda: len(service.lines("file")) >= 39, what="the file is read to its end")
        lines = service.lines("gate")
        assert [line["sequence"] for line in lines] == list(range(len(lines)))
        assert all(a["timestamp_ms"] < b["timestamp_ms"] for a, b in pairwise(lines))
        assert "none: source: cannot open rtsp://127.0.0.1:1/none" in service.get("/readyz")
        metrics = service.get("/metrics")
        assert 'arno_ingest_source_up{source="gate"} 1.0' in metrics
        assert 'arno_ingest_frames_total{outcome="answered",source="file"} 40.0' in metrics
        assert 'arno_ingest_source_restarts_total{source="none"}' in metrics
    finally:
        assert service.stop() == 0
    assert (tmp_path / "seen.mp4").stat().st_size > 1000


def test_signal_ends_a_video_with_the_frames_under_way_written_and_told(up, tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=60, rate=10)
    names = (signal.SIGINT, signal.SIGTERM)
    runs = {}
    for name in names:
        events = tmp_path / f"{name}.jsonl"
        words = ("--task", "OD", "--realtime", "--out", events, "--address", up.address)
        log = tmp_path / f"{name}.log"
        runs[name] = events, log, start_arno("stream", video, *words, log=log)
    for name, (events, _, process) in runs.items():
        eventually(lambda e=events: e.exists() and e.read_text().count("\n") >= 3, what="lines")
        process.send_signal(name)
    for events, log, process in runs.values():
        assert process.wait(30) == 0, log.read_text()
        lines = [json.loads(line) for line in events.read_text().splitlines()]
        assert [line["sequence"] for line in lines] == list(range(len(lines)))
        assert 3 <= len(lines) < 600
        assert f"{len(lines)} frames: {len(lines)} answered; events in" in log.read_text()


class SilentGateway(ScriptedGateway):
    """Takes frames, and answers none."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = threading.Event()

    def InferStream(self, requests, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        # The settings, then a frame.
        next(requests), next(requests)
        self.taken.set()
        gone.wait(60)
        yield from ()


async def test_frames_that_are_not_answered_are_given_up_at_the_end_of_the_drain(tmp_path):
    video = write_video(tmp_path / "numbers.mp4", duration_s=1, rate=10)
    source = {"name": "gate", "source": str(video), "tasks": ["OD"], "policy": "all"}
    with scripted_gateway(SilentGateway()) as gateway:
        settings = IngestSettings(
            address=gateway.address,
            metrics_port=0,
            drain_s=0.2,
            sources=[{**source, "events": tmp_path / "gate.jsonl"}],
        )
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(settings, stop=stop))
        assert await asyncio.to_thread(gateway.taken.wait, 30)
        stop.set()
        async with asyncio.timeout(20):
            assert not await serving


def test_camera_that_stalls_and_goes_on_is_read_again_with_the_time_that_passed(
    camera, monkeypatch
):
    # Half a minute on the clock is in tests/unit/ingest/test_bad_videos.py; this is the real thing.
    monkeypatch.setattr(pictures, "READ_TIMEOUT_S", 1.0)
    connections: list[str] = []
    connect = frames.read_frames

    def counted(options, wait):
        connections.append(options.source)
        # It comes back when it is missed.
        os.kill(camera.pid, signal.SIGCONT)
        return connect(options, wait)

    monkeypatch.setattr(frames, "read_frames", counted)
    camera.start()
    source = read_source(SourceOptions(camera.url, fps=5), undisturbed)
    before = [next(source) for _ in range(5)]
    os.kill(camera.pid, signal.SIGSTOP)
    # What had arrived before is read; then nothing comes.
    after = next(one for one in source if len(connections) > 1)
    source.close()
    assert after.sequence > before[-1].sequence
    assert 1_000 <= after.timestamp_ms - before[-1].timestamp_ms < 60_000
