"""The page of cameras in a real browser: it shows what the sources of `arno ingest` see."""

from __future__ import annotations

from playwright.sync_api import expect
from support.availability import require
from support.browser import WAYS_TO_GET_IT, PageWatch, chromium, running_browser, screenshot
from support.previews import previews
from support.scripted_gateway import scripted_gateway
from support.web_server import web_server


def test_cameras_of_arno_ingest_are_shown_as_they_see():
    require(chromium(), WAYS_TO_GET_IT)
    with (
        scripted_gateway() as gateway,
        previews("gate") as (_, door),
        web_server(gateway.address, web_previews=door) as url,
        running_browser() as browser,
    ):
        page = browser.new_page()
        watch = PageWatch(page)
        page.goto(url)
        page.get_by_role("link", name="Cameras").click()
        shown = page.get_by_role("img", name="What gate sees")
        expect(shown).to_be_visible()
        # As large as the frames are, from the first picture on.
        expect(shown).to_have_js_property("width", 64)
        screenshot(page, "cameras")
        assert watch.faults == []
