"""What sources look like now, with their regions: pictures that are drawn while they are watched.

``/preview`` on the side door lists the sources, ``/preview/NAME`` is a picture that changes: motion
JPEG, which browsers show as an image.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Final

from prometheus_client import CollectorRegistry

from arno.client import FrameResult, InferResult
from arno.client.drawing import draw
from arno.ops.health import HealthServer, Probes

PATH: Final = "/preview"
VIEWERS_MAX: Final = 16
"""Of all sources together: each holds a connection and a thread."""

_APART_S: Final = 0.1
_REPEAT_S: Final = 5.0
"""How often a picture that does not change is sent again, so that a viewer who left is noticed."""

_JPEG_QUALITY: Final = 75
_BOUNDARY: Final = "frame"


class Preview:
    """The newest picture of one source. Any thread."""

    def __init__(self) -> None:
        """Begin without a picture."""
        self._changed = threading.Condition()
        self._picture = b""
        self._number = 0
        self._viewers = 0
        self._drawn_s = float("-inf")
        self._closed = False

    def show(self, picture: bytes, result: FrameResult) -> None:
        """Draw an answered frame for those who watch, ten times a second at most."""
        now_s = time.monotonic()
        if not self._viewers or not picture or now_s - self._drawn_s < _APART_S:
            return
        if not isinstance(result.outcome, InferResult):
            return
        self._drawn_s = now_s
        file = io.BytesIO()
        draw(picture, result.outcome.tasks).save(file, "JPEG", quality=_JPEG_QUALITY)
        with self._changed:
            self._picture, self._number = file.getvalue(), self._number + 1
            self._changed.notify_all()

    def pictures(self) -> Iterator[bytes]:
        """Yield pictures, each newer than the one before or the same again, until closed."""
        with self._changed:
            if not self._viewers:
                # What was drawn for those who watched before may be old.
                self._picture = b""
            self._viewers += 1
            seen = self._number
        try:
            while not self._closed:
                picture, seen = self._next(seen)
                if picture and not self._closed:
                    yield picture
        finally:
            with self._changed:
                self._viewers -= 1

    def _next(self, seen: int) -> tuple[bytes, int]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > seen, _REPEAT_S)
            return self._picture, self._number

    def close(self) -> None:
        """Send viewers away. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class PreviewPages:
    """Serves the previews of all sources; called on the threads of the side door."""

    def __init__(self, names: Sequence[str]) -> None:
        """Take the names of the sources."""
        self.previews = {name: Preview() for name in names}
        self._places = threading.BoundedSemaphore(VIEWERS_MAX)

    def __call__(self, handler: BaseHTTPRequestHandler, path: str) -> bool:
        """Answer a request for one of the pages; False for any other."""
        if path == PATH:
            body = json.dumps({"sources": list(self.previews)}).encode()
            _answer(handler, 200, "application/json", body)
            return True
        preview = self.previews.get(path.removeprefix(f"{PATH}/"))
        if not path.startswith(f"{PATH}/") or preview is None:
            return False
        if not self._places.acquire(blocking=False):
            sentence = f"viewers would be {VIEWERS_MAX + 1}; allowed: {VIEWERS_MAX}\n"
            _answer(handler, 503, "text/plain", sentence.encode())
            return True
        try:
            _send(handler, preview)
        finally:
            self._places.release()
        return True

    def close(self) -> None:
        """Send all viewers away. Idempotent."""
        for preview in self.previews.values():
            preview.close()


@contextmanager
def preview_of_one(name: str, host: str, port: int) -> Iterator[tuple[Preview, str]]:
    """Serve the preview of one source, where no process with a side door does; give its address.

    Raises:
        ConfigurationError: The address cannot be had.
    """
    pages = PreviewPages([name])
    door = HealthServer(
        host=host,
        port=port,
        registry=CollectorRegistry(),
        probes=Probes(),
        pages=pages,
        setting="preview",
    )
    door.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield pages.previews[name], f"http://{shown}:{door.port}{PATH}/{name}"
    finally:
        pages.close()
        door.close()


def _send(handler: BaseHTTPRequestHandler, preview: Preview) -> None:
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
    handler.send_header("Cache-Control", "no-store")
    handler.end_headers()
    try:
        for picture in preview.pictures():
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
            handler.wfile.write(f"{head}\r\n\r\n".encode() + picture + b"\r\n")
    except OSError:
        # The viewer has gone, or takes nothing for longer than the handler's time-out.
        return


def _answer(handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
