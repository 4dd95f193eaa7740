"""The page in front of a real model: uploads, boxes that are drawn, clicks, a camera, a phone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.web_page.conftest import answers, at, upload
from playwright.sync_api import expect
from support.browser import PageWatch, screenshot
from support.videos import write_video

pytestmark = [pytest.mark.redis, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[3]
IMAGES = ROOT / "examples" / "images"
STATIC = ROOT / "services" / "arno" / "web" / "static"
PAGE_BYTES_MAX = 200_000


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


def test_file_that_is_no_image_leaves_the_picture_before_it(page, tmp_path):
    upload(page, IMAGES / "wide.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    page.set_input_files("#file", tmp_path / "broken.jpg")
    expect(page.get_by_role("alert")).to_contain_text("broken.jpg: Invalid image")
    expect(page.locator(".rows .label")).to_have_text(["cup", "cat"])
    expect(page.locator("#history li")).to_have_count(1)


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone(browser, web_up, scheme):
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True
    )
    page = context.new_page()
    page.goto(web_up.web)
    upload(page, IMAGES / "wide.jpg")
    page.locator("#overlay .region").first.tap()
    picture = page.locator("#overlay").bounding_box()
    tags = [tag.bounding_box() for tag in page.locator("#tags .tag").all()]
    assert picture is not None
    assert len(tags) == 2
    assert all(tag is not None and tag["y"] >= picture["y"] for tag in tags)
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


def test_every_control_has_a_name(page):
    upload(page, IMAGES / "wide.jpg")
    # The last one that goes away.
    expect(page.locator("#stop")).to_be_hidden()
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
    expect(page.locator("#post-v1-infer pre")).to_contain_text(f"curl {web_up.web}/v1/infer")
    page.get_by_role("link", name="DELETE /v1/jobs/{job_id}").click()
    expect(page.locator("#delete-v1-jobs-job-id-")).to_be_in_viewport()
    screenshot(page, "docs")
    assert watch.faults == []
