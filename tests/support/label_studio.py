"""What stands around a backend of Label Studio: its SDK's judgement, and a server in its place."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.availability import require

_SDK = Path(__file__).resolve().parents[2] / ".tools" / "label_studio_sdk"
_JUDGE = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue
asked = json.load(sys.stdin)
project = LabelInterface(asked["config"])
project.validate()
for prediction in asked["predictions"]:
    PredictionValue(**prediction)
json.dump([project.validate_prediction(one, return_errors=True) for one in asked["predictions"]],
    sys.stdout)
"""


def judged_by_sdk(config: str, *predictions: dict[str, Any]) -> list[list[str]]:
    """Return what `label_studio_sdk` finds wrong with predictions for a labeling configuration.

    The SDK pins libraries that Arno needs at other versions, so it runs in a process of its own.
    """
    require((_SDK / "installed").exists(), "label-studio-sdk (make tools)")
    asked = json.dumps({"config": config, "predictions": predictions})
    done = subprocess.run(
        [sys.executable, "-c", _JUDGE],
        input=asked,
        env={"PYTHONPATH": str(_SDK)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class HttpPeer:
    """Another HTTP server: Label Studio, or one that has images.

    Attributes:
        url: Where it is.
        pages: Paths, with queries, to status, headers and body.
        seen: Method, path, headers and body of each request.
    """

    def __init__(self) -> None:
        self.url = ""
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """The JSON of the requests to a path."""
        return [json.loads(body) for _, where, _, body in self.seen if where == path]


@contextmanager
def http_peer() -> Iterator[HttpPeer]:
    """Serve on a free loopback port."""
    peer = HttpPeer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            peer.seen.append((self.command, self.path, dict(self.headers), body))
            status, headers, content = peer.pages.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    peer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
