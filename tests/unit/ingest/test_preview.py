"""Previews on the side door: pictures for those who watch, and none drawn for nobody."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest
from arno.client.drawing import colour_of
from arno.errors import ConfigurationError
from arno.ingest.videos import preview
from arno.ingest.videos.preview import Preview, PreviewPages, preview_of_one
from PIL import Image
from support import images
from support.answered import answered_frame, dropped_frame
from support.builders import box
from support.eventually import eventually
from support.previews import previews


@pytest.fixture
def served() -> Iterator[tuple[PreviewPages, str]]:
    with previews("gate", "yard") as served:
        yield served


def opened(url: str) -> HTTPResponse:
    return urllib.request.urlopen(url, timeout=10)  # noqa: S310 - of our own server


def picture(answer: HTTPResponse) -> Image.Image:
    """Read the next part of a multipart answer."""
    head = {}
    assert answer.readline().strip() in {b"--frame", b""}
    while line := answer.readline().strip():
        name, _, value = line.decode().partition(": ")
        head[name] = value
    if "Content-Length" not in head:
        return picture(answer)
    assert head["Content-Type"] == "image/jpeg"
    return Image.open(io.BytesIO(answer.read(int(head["Content-Length"]))))


def test_sources_are_listed(served):
    _, url = served
    with opened(f"{url}/preview") as answer:
        assert json.load(answer) == {"sources": ["gate", "yard"]}
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        opened(f"{url}/preview/roof")
    caught.value.close()


def test_picture_has_the_regions_of_its_frame(served):
    _, url = served
    with opened(f"{url}/preview/gate") as answer:
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        shade = picture(answer).convert("RGB").getpixel((10, 35))
    assert all(abs(a - b) < 80 for a, b in zip(shade, colour_of("cat"), strict=True))


def test_viewers_beyond_the_limit_are_told_so(monkeypatch):
    monkeypatch.setattr(preview, "VIEWERS_MAX", 1)
    with (
        previews("gate") as (pages, url),
        opened(f"{url}/preview/gate") as first,
    ):
        picture(first)
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            opened(f"{url}/preview/gate")
        assert b"allowed: 1" in caught.value.read()
        caught.value.close()
        first.close()
        # The one who left is noticed at the next picture.
        eventually(lambda: pages.previews["gate"]._viewers == 0, what="its place is free")


def test_nothing_is_drawn_while_nobody_watches_or_where_there_is_no_answer(monkeypatch):
    monkeypatch.setattr(preview, "_REPEAT_S", 0.0)
    drawn: list[bytes] = []
    monkeypatch.setattr(preview, "draw", lambda *given: drawn.append(given[0]) or 1 / 0)
    shown = Preview()
    cat = answered_frame(0, 0, box("cat", 1, 1, 9, 9))
    shown.show(images.jpeg(), cat)
    watching = shown.pictures()
    shown.close()
    assert list(watching) == []
    shown._viewers = 1
    shown.show(b"", cat)
    shown.show(images.jpeg(), dropped_frame(1, 40))
    assert drawn == []
    with pytest.raises(ZeroDivisionError):
        shown.show(images.jpeg(), cat)


def test_one_source_is_served_for_as_long_as_it_is_shown():
    with preview_of_one("stream", "127.0.0.1", 0) as (shown, url), opened(url) as answer:
        frame = answered_frame(0, 0, box("cat", 10, 10, 40, 40))
        eventually(lambda: shown._viewers, what="the viewer is seen")
        shown.show(images.jpeg(), frame)
        assert picture(answer).size == (64, 48)
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        with (
            pytest.raises(ConfigurationError, match=f"preview: cannot listen on 127.0.0.1:{port}"),
            preview_of_one("stream", "127.0.0.1", port),
        ):
            pass
