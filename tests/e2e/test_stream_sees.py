"""`arno stream` with the bundled model: every event holds the boxes of its own frame."""

import json
from itertools import pairwise

import av
import numpy as np
import pytest
from arno.training.world.sprites import FONT_PATH, MARGIN_PX, sprite
from PIL import Image
from support.arno_up import arno
from support.availability import require

pytestmark = [pytest.mark.redis, pytest.mark.model]

SIDE_PX, OBJECT_PX = 256, 96
SECONDS, FPS, SAMPLED_FPS = 10, 10, 1


def left_edge_px(second: float) -> float:
    return (SIDE_PX - OBJECT_PX) * second / SECONDS


@pytest.fixture
def video(tmp_path):
    """A car that crosses the picture from left to right in ten seconds."""
    require(FONT_PATH.exists(), "needs the font of apt-get install fonts-noto-color-emoji")
    drawn = sprite("\N{AUTOMOBILE}", mirrored=False)
    box = (MARGIN_PX, MARGIN_PX, MARGIN_PX + drawn.width_px, MARGIN_PX + drawn.height_px)
    car = drawn.image.crop(box).resize((OBJECT_PX, OBJECT_PX))
    path = tmp_path / "car.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width = stream.height = SIDE_PX
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for number in range(SECONDS * FPS):
            picture = Image.new("RGB", (SIDE_PX, SIDE_PX), (120, 170, 110))
            picture.paste(car, (round(left_edge_px(number / FPS)), 80), car)
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture))):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_events_come_in_order_with_the_boxes_of_their_own_frame(web_up, video, tmp_path):
    events = tmp_path / "events.jsonl"
    seen = tmp_path / "seen.mp4"
    words = ["--task", "OD", "--fps", str(SAMPLED_FPS), "--out", events, "--video", seen, "--track"]
    words += ["--preview", "0"]
    said = arno("stream", video, *words, "--address", web_up.address)
    assert said.exit_code == 0, said.err
    assert "preview: http://127.0.0.1:" in said.err
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["timestamp_ms"] for line in lines] == [1000 * n for n in range(SECONDS)]
    assert all(a["sequence"] < b["sequence"] for a, b in pairwise(lines))
    with av.open(str(seen)) as container:
        shown = [round(1000 * frame.time) for frame in container.decode(video=0)]
    assert shown == [line["timestamp_ms"] for line in lines]
    assert any(event["kind"] == "appeared" for line in lines for event in line["events"])
    near = 0
    for line in lines:
        wanted = left_edge_px(line["timestamp_ms"] / 1000) + OBJECT_PX / 2
        regions = line["results"][0]["answer"]["detection"].get("regions", [])
        middles = [(region["box"].get("x0", 0) + region["box"]["x1"]) / 2 for region in regions]
        near += any(abs(middle - wanted) < OBJECT_PX / 4 for middle in middles)
    # A frame further, the car is 16 pixels away; half a car is 48: boxes of wrong frames drift off.
    assert near >= 0.8 * len(lines)
