"""The page in Chromium: its weight, and how soon the first box is there after the answer."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

from arno import web
from arno.api.v1 import vision_pb2
from playwright.sync_api import Page, Request
from support.answers import detection, region, response
from support.browser import WAYS_TO_GET_IT, chromium, running_browser
from support.images import png
from support.scripted_gateway import ScriptedGateway, scripted_gateway
from support.web_server import web_server

from benchmarks.figures import percentile

_ROUNDS: Final = 20
_STATIC: Final = Path(web.__file__).with_name("static")
# Notes when a region is first in the picture, on the clock of the machine. The policy of the page
# allows no waiting by an expression that is evaluated again and again.
_WATCH: Final = """
() => {
  window.firstBox = new Promise((resolve) => {
    new MutationObserver(() => {
      if (document.querySelector("#overlay [data-region]"))
        requestAnimationFrame(() => resolve(Date.now() / 1000));
    }).observe(document.getElementById("overlay"), { childList: true, subtree: true });
  });
}
"""


class _TimedGateway(ScriptedGateway):
    """Notes when its answer was ready to be sent."""

    answered_at = 0.0

    def WatchJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        watch: Any = super().WatchJob
        for answer in watch(request, context):
            if answer.job.response.results and not self.answered_at:
                self.answered_at = time.time()
            yield answer


def measure_page(size: float) -> dict[str, Any]:
    """Return the bytes that the page loads, and the seconds from an answer to its first box.

    Args:
        size: 1 for the whole measurement.
    """
    rounds = int(_ROUNDS * size)
    asked: list[Request] = []

    def note(request: Request) -> None:
        # Playwright marks its listeners: a method of the list takes no mark.
        asked.append(request)

    if chromium() is None:
        sys.exit(WAYS_TO_GET_IT)
    files = {path.name: path.stat().st_size for path in sorted(_STATIC.iterdir())}
    with (
        scripted_gateway(_TimedGateway()) as gateway,
        web_server(gateway.address) as url,
        running_browser() as browser,
    ):
        page = browser.new_page()
        page.on("requestfinished", note)
        page.goto(url)
        page.wait_for_load_state("networkidle")
        loaded = [_size_of(request) for request in asked]
        took = [_first_box(page, url, gateway) for _ in range(rounds)]
    return {
        "files_bytes": files,
        "loaded_bytes": sum(loaded),
        "requests": len(loaded),
        "first_box_s": {"p50": percentile(took, 0.5), "max": max(took)},
        "rounds": rounds,
    }


def _size_of(request: Request) -> int:
    response = request.response()
    return len(response.body()) if response is not None else 0


def _first_box(page: Page, url: str, gateway: Any) -> float:
    page.goto(url)
    page.evaluate(_WATCH)
    gateway.answer = _answer()
    gateway.answered_at = 0.0
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": png()})
    return float(page.evaluate("window.firstBox")) - float(gateway.answered_at)


def _answer() -> vision_pb2.InferResponse:
    boxes = [region(f"thing {n}", n, n, n + 40, n + 30) for n in range(20)]
    return response(detection(*boxes, id="0"))
