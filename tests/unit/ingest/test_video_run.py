"""One video on its way: how far it is ahead of its answers."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace

import pytest
from arno.client import StreamOptions
from arno.ingest.videos.pictures import SourceOptions
from arno.ingest.videos.video_run import VideoRun
from support.videos import write_video


@pytest.mark.parametrize(("policy", "sent"), [("all", 2 * 3 + 1), ("latest", 30)])
def test_frames_wait_here_for_answers_unless_the_gateway_leaves_some_out(tmp_path, policy, sent):
    video = write_video(tmp_path / "numbers.mp4", duration_s=3, rate=10)
    taken = []

    def infer_stream(frames, *tasks, options):
        for frame in frames:
            taken.append(frame.sequence)
            if len(taken) == sent:
                # A moment for a frame too many, which comes at once where it comes.
                threading.Timer(0.3, run.stop).start()
        yield from ()

    client = SimpleNamespace(infer_stream=infer_stream)
    options = StreamOptions(policy=policy, in_flight_max=3)
    run = VideoRun(client, SourceOptions(str(video)), ["OD"], options)
    run.write_events(io.StringIO(), lambda told, outcome: None)
    assert taken == list(range(sent))
