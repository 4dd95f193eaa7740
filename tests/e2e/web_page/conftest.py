"""The page in a browser, in front of a real model or of a gateway that does as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from support.arno_up import ArnoUp
from support.availability import require
from support.browser import WAYS_TO_GET_IT, PageWatch, chromium, running_browser
from support.images import png
from support.scripted_gateway import ScriptedGateway, scripted_gateway
from support.web_server import web_server

BODY_BYTES_MAX = 1_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require(chromium(), WAYS_TO_GET_IT)
    with running_browser() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1360, "height": 860})
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, web_up: ArnoUp) -> Iterator[Page]:
    """The page of a real Arno; it must do nothing wrong, and ask no other server."""
    page = context.new_page()
    watch = PageWatch(page)
    page.goto(web_up.web)
    yield page
    assert watch.faults == []
    own = (f"{web_up.web}/", "blob:", "data:")
    assert [url for url in watch.urls if not url.startswith(own)] == []


@pytest.fixture(scope="module")
def _scripted() -> Iterator[tuple[ScriptedGateway, str]]:
    with (
        scripted_gateway() as gateway,
        web_server(gateway.address, web_body_bytes_max=BODY_BYTES_MAX) as url,
    ):
        yield gateway, url


@pytest.fixture
def gateway(_scripted: tuple[ScriptedGateway, str]) -> ScriptedGateway:
    _scripted[0].forget()
    return _scripted[0]


@pytest.fixture
def told(
    context: BrowserContext, gateway: ScriptedGateway, _scripted: tuple[ScriptedGateway, str]
) -> Iterator[Page]:
    """The page of a server whose gateway answers what the test tells it to."""
    page = context.new_page()
    watch = PageWatch(page)
    page.goto(_scripted[1])
    yield page
    assert watch.faults == []


@pytest.fixture
def small(tmp_path) -> Path:
    path = tmp_path / "small.png"
    path.write_bytes(png())
    return path


def answers(page: Page) -> Locator:
    return page.locator(".answer:not(.waiting)")


def upload(page: Page, image: Path, count: int = 2) -> None:
    page.set_input_files("#file", image)
    expect(answers(page)).to_have_count(count, timeout=20_000)


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """A place of the picture, given as parts of its width and height, on the screen."""
    place = page.locator("#overlay").bounding_box()
    assert place is not None
    return place["x"] + x * place["width"], place["y"] + y * place["height"]
