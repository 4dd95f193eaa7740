"""The playground in a real browser, in front of a real model and of a gateway that misbehaves."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arno.api.v1 import types_pb2, vision_pb2
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from support.answers import detection, failure, region, response
from support.arno_up import ArnoUp
from support.availability import require
from support.browser import (
    WAYS_TO_GET_IT,
    PageWatch,
    chromium,
    running_browser,
    screenshot,
)
from support.images import png
from support.scripted_gateway import ScriptedGateway, refusal, scripted_gateway
from support.videos import read_number, write_video
from support.web_server import web_server

pytestmark = [pytest.mark.redis, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "examples" / "images"
STATIC = ROOT / "services" / "arno" / "web" / "static"
HTML = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PAGE_BYTES_MAX = 200_000
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


def test_upload_shows_the_answers_beside_and_on_the_picture(page):
    upload(page, IMAGES / "wide.jpg")
    expect(page.locator(".rows .label")).to_have_text(["cup", "cat"])
    expect(page.locator("#overlay .region")).to_have_count(2)
    expect(answers(page).filter(has_text="Caption")).to_contain_text("A cup and a cat")
    expect(page.locator("#model")).to_contain_text("tiny")
    expect(page.locator("#status")).not_to_be_empty()
    screenshot(page, "desktop")


def test_row_and_region_are_linked_both_ways(page):
    upload(page, IMAGES / "wide.jpg")
    page.locator(".rows li", has_text="cat").hover()
    expect(page.locator("#overlay .region.lit")).to_have_attribute("aria-label", re.compile("^cat"))
    page.mouse.move(*at(page, 0.2, 0.6))
    expect(page.locator(".rows li.lit .label")).to_have_text("cup")


def test_region_that_is_clicked_is_asked_about(page):
    upload(page, IMAGES / "wide.jpg")
    page.mouse.click(*at(page, 0.75, 0.3))
    page.get_by_role("button", name="What is it?").click()
    expect(answers(page)).to_have_count(3)
    expect(answers(page).first.locator(".text")).to_have_text("cat")
    page.mouse.click(*at(page, 0.2, 0.6))
    page.get_by_role("button", name="Outline").click()
    expect(page.locator("#overlay .region.mask")).to_have_count(1)
    screenshot(page, "region")


def test_box_that_is_drawn_is_asked_about(page):
    upload(page, IMAGES / "wide.jpg")
    page.mouse.move(*at(page, 0.56, 0.05))
    page.mouse.down()
    page.mouse.move(*at(page, 0.7, 0.3))
    page.mouse.move(*at(page, 0.93, 0.59))
    page.mouse.up()
    page.get_by_role("button", name="Describe", exact=True).click()
    expect(answers(page)).to_have_count(3)
    expect(answers(page).first.locator(".text")).to_contain_text("cat")


def test_keyboard_alone_asks_about_a_region_and_a_box(page):
    upload(page, IMAGES / "wide.jpg")
    page.locator("#overlay .region").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="What is it?")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="Describe", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    page.locator("#draw").focus()
    page.keyboard.press("Enter")
    box = page.locator(".draft")
    before = box.get_attribute("aria-label")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert box.get_attribute("aria-label") != before
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(3)


def test_phrase_is_grounded(page):
    upload(page, IMAGES / "wide.jpg")
    page.fill("#phrase", "A cup and a cat.")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(3)
    expect(answers(page).first.locator("q")).to_have_text("A cup and a cat.")
    expect(answers(page).first.locator(".rows .label")).to_have_text(["A cup", "a cat"])


def test_least_score_hides_regions_and_counts_them(page):
    upload(page, IMAGES / "wide.jpg")
    page.locator("#threshold").fill("0.99")
    expect(page.locator("#overlay .region")).to_have_count(0)
    expect(answers(page).first.locator(".hidden-count")).to_have_text("2 below the least score")
    page.locator("#threshold").fill("0")
    expect(page.locator("#overlay .region")).to_have_count(2)
    page.get_by_label("Show Objects on the picture").click()
    expect(page.locator("#overlay .region")).to_have_count(0)


@pytest.mark.parametrize("language", ["Python", "curl"])
def test_request_as_code_runs(page, language):
    upload(page, IMAGES / "wide.jpg")
    page.mouse.click(*at(page, 0.75, 0.3))
    page.get_by_role("button", name="What is it?").click()
    expect(answers(page)).to_have_count(3)
    page.click("#copy-open")
    page.get_by_role("radio", name=language, exact=True).click()
    code = page.locator("#copy-text").inner_text()
    words = [sys.executable, "-c", code] if language == "Python" else ["bash", "-c", code]
    done = subprocess.run(
        words, cwd=IMAGES, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bcat\b", done.stdout)


def test_history_brings_a_picture_back_with_its_answers(page):
    upload(page, IMAGES / "wide.jpg")
    upload(page, IMAGES / "tall.webp")
    expect(page.locator(".rows .label")).to_have_text(["apple"])
    page.get_by_role("button", name="Open wide.jpg again").click()
    expect(page.locator(".rows .label")).to_have_text(["cup", "cat"])
    expect(page.locator("#history li")).to_have_count(2)


DROP_AND_PASTE = """async () => {
  const blob = await (await fetch("/static/example.webp")).blob();
  const held = (name) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([blob], name, { type: blob.type }));
    return transfer;
  };
  const place = document.getElementById("drop");
  const [dataTransfer, clipboardData] = [held("dropped.webp"), held("pasted.webp")];
  place.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
  place.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}"""


def test_dropped_and_pasted_images_are_taken(page):
    page.click("#example")
    expect(answers(page)).to_have_count(2)
    page.evaluate(DROP_AND_PASTE)
    for name in ("dropped.webp", "pasted.webp"):
        expect(page.get_by_role("button", name=f"Open {name} again")).to_have_count(1)
    expect(answers(page)).to_have_count(2)


def test_file_that_the_browser_cannot_show_is_answered_all_the_same(page):
    upload(page, IMAGES / "square.tiff")
    expect(page.locator("#no-picture")).to_be_visible()
    expect(page.locator("#overlay .region").first).to_be_visible()


def test_camera_is_answered_frame_by_frame_until_it_is_stopped(page):
    page.click("#camera")
    expect(page.locator("#rate")).to_have_text(re.compile(r"[\d.]+ frames/s"))
    expect(answers(page)).to_have_count(2)
    screenshot(page, "camera")
    page.click("#freeze")
    expect(page.locator("#rate")).to_be_hidden()
    expect(page.locator("#history li")).to_have_count(1)
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "false")


def test_video_file_is_answered_and_ends(page, tmp_path):
    video = write_video(tmp_path / "v.webm", duration_s=2, rate=10, codec="libvpx")
    page.set_input_files("#video-file", video)
    expect(answers(page)).to_have_count(2)
    expect(page.locator("#status")).to_have_text("v.webm ended")


def test_answer_is_drawn_on_the_frame_that_it_is_about(told, gateway, tmp_path):
    def named(frame: bytes) -> vision_pb2.InferResponse:
        number = read_number(Image.open(io.BytesIO(frame)))
        return response(detection(region(str(number), 1, 2, 30, 40), id="0"))

    gateway.answer_to = named
    video = write_video(tmp_path / "v.webm", duration_s=2, rate=10, codec="libvpx")
    told.set_input_files("#video-file", video)
    expect(told.locator("#status")).to_have_text("v.webm ended")
    url = told.locator("#canvas").evaluate("one => one.toDataURL()")
    shown = read_number(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    expect(told.locator("#tags .tag")).to_contain_text(f"{shown}0.90")
    assert len(gateway.requests) > 2
    assert gateway.requests[0].lane == types_pb2.LANE_STREAM


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone(browser, web_up, scheme):
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True
    )
    page = context.new_page()
    page.goto(web_up.web)
    upload(page, IMAGES / "wide.jpg")
    page.locator("#overlay .region").first.tap()
    ask = page.locator("#ask").bounding_box()
    assert ask is not None
    assert ask["x"] >= 0
    assert ask["x"] + ask["width"] <= 360
    assert page.locator("html").evaluate("one => one.scrollWidth") == 360
    screenshot(page, f"phone-{scheme}")
    context.close()


def test_page_is_small():
    files = [one for one in STATIC.iterdir() if not one.name.startswith("docs")]
    assert sum(one.stat().st_size for one in files) <= PAGE_BYTES_MAX


def test_html_in_labels_and_names_is_text(told, gateway, tmp_path):
    label = types_pb2.Region(label=HTML, box=types_pb2.Box(x0=1, y0=2, x1=60, y1=40), score=0.5)
    gateway.answer = response(detection(label, id="0"), failure(HTML, HTML, id="1"))
    image = tmp_path / "<b onclick=alert(3)>.png"
    image.write_bytes(png())
    upload(told, image)
    expect(told.locator(".rows .label")).to_have_text(HTML)
    expect(told.locator("#tags .tag")).to_contain_text(HTML)
    expect(told.locator(".fault b")).to_have_text(HTML)
    assert told.locator("main script, main img, #history b").count() == 0


def test_task_that_fails_alone_leaves_the_others(told, gateway, small):
    gateway.answer = response(
        detection(region("cat", 1, 2, 30, 40), id="0"), failure("ENGINE_FAILED", "it broke", id="1")
    )
    upload(told, small)
    expect(told.locator(".rows .label")).to_have_text("cat")
    expect(told.locator(".answer.failed")).to_contain_text("it broke")


@pytest.fixture
def small(tmp_path) -> Path:
    path = tmp_path / "small.png"
    path.write_bytes(png())
    return path


REFUSALS: dict[str, Callable[[], object]] = {
    "INVALID_IMAGE": lambda: refusal(3, "INVALID_IMAGE", "image.content: not an image"),
    "QUOTA_EXCEEDED": lambda: refusal(8, "QUOTA_EXCEEDED", "quota jobs_in_flight"),
    "DEADLINE_EXCEEDED": lambda: refusal(4, "DEADLINE_EXCEEDED", "too late"),
    "INTERNAL": lambda: refusal(13, "INTERNAL", "error_id 1f"),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refusal_is_shown_with_its_reason(told, gateway, small, reason):
    gateway.refuse = REFUSALS[reason]()
    told.set_input_files("#file", small)
    expect(told.get_by_role("alert")).to_contain_text(reason)
    expect(told.locator(".answer")).to_have_count(0)
    gateway.refuse = None
    told.click("#run")
    expect(told.locator("#problem")).to_be_hidden()
    expect(answers(told)).to_have_count(1)


def test_key_is_asked_for_and_shown(told, gateway, small):
    gateway.refuse = refusal(16, "UNAUTHENTICATED", "no API key")
    told.set_input_files("#file", small)
    told.get_by_role("button", name="Enter an API key").click()
    gateway.refuse = None
    told.fill("#key", "arno_secret")
    told.keyboard.press("Enter")
    expect(answers(told)).to_have_count(1)
    assert "arno_secret" in gateway.keys
    expect(told.locator("#key-open")).to_have_class(re.compile("set"))


def test_file_above_the_limit_is_not_even_sent(told, gateway, tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(png() + b"\0" * BODY_BYTES_MAX)
    told.set_input_files("#file", large)
    expect(told.get_by_role("alert")).to_contain_text("this server takes 1.0 MiB")
    assert not gateway.requests


def test_server_that_is_gone_is_told(context, gateway, small):
    with web_server(gateway.address) as url:
        page = context.new_page()
        page.goto(url)
        upload(page, small, count=1)
    page.click("#run")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_every_control_has_a_name(page):
    upload(page, IMAGES / "wide.jpg")
    for control in page.locator("button:visible, input:visible, select:visible").all():
        assert control.evaluate(
            "one => (one.ariaLabel || one.labels?.[0]?.textContent || one.textContent || '').trim()"
        )


def test_page_of_the_api_shows_what_is_served(context, web_up):
    page = context.new_page()
    watch = PageWatch(page)
    page.goto(f"{web_up.web}/docs")
    expect(page.get_by_role("heading", name="POST /v1/infer")).to_be_visible()
    expect(page.locator("#TaskSpec")).to_contain_text("inputFrom")
    screenshot(page, "docs")
    assert watch.faults == []
