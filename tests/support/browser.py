"""Debian's Chromium, headless, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

WAYS_TO_GET_IT = "chromium: `make tools` as root, or apt-get install chromium"
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
"""Where pictures of pages are kept, for people to look at after a run."""

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a moving test picture, and the permission to use it.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def chromium() -> str | None:
    """Return the path of the browser, if there is one."""
    return shutil.which("chromium")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start it, and end it with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_FLAGS)
        yield browser
        browser.close()


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


class PageWatch:
    """What a page did that none of ours may do: errors, dialogs, requests to other servers."""

    def __init__(self, page: Page) -> None:
        """Begin to watch."""
        self.faults: list[str] = []
        self.urls: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("console", self._hear)

    def _hear(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        # A refusal by the server is logged, too; tests look for its effect on the page.
        if kind == "error" and "Failed to load resource" not in text:
            self.faults.append(f"console: {text}")
