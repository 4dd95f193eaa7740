"""The page in front of a gateway that misbehaves: refusals, half answers, HTML in labels."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable

import pytest
from arno.api.v1 import types_pb2, vision_pb2
from e2e.web_page.conftest import BODY_BYTES_MAX, answers, at, upload
from PIL import Image
from playwright.sync_api import expect
from support.answers import detection, failure, region, response
from support.images import png
from support.scripted_gateway import refusal
from support.videos import read_number, write_video
from support.web_server import web_server

HTML = "<img src=x onerror=alert(1)><script>alert(2)</script>"


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
    told.click("#copy-open")
    for language in ("Python", "curl", "grpcurl"):
        told.get_by_role("radio", name=language, exact=True).click()
        code = told.locator("#copy-text").inner_text()
        assert "ARNO_API_KEY" in code
        assert "arno_secret" not in code


SYSTEM, MUTUAL = {}, {"authority": True, "certificate": True}
FILES = '(root_certificates="ca.pem", certificate="client.pem", private_key="client.key")'


@pytest.mark.parametrize(
    ("tls", "python", "grpcurl"),
    [
        (None, '("cats.example:443") as', "grpcurl -plaintext -d @ cats.example:443 "),
        (SYSTEM, ", tls=arno.client.Tls()) as", "grpcurl -d @ cats.example:443 "),
        (
            MUTUAL,
            f", tls=arno.client.Tls{FILES}) as",
            "grpcurl -cacert ca.pem -cert client.pem -key client.key -d @ cats.example:443 ",
        ),
    ],
    ids=["plain", "system", "mutual"],
)
def test_code_speaks_to_the_gateway_as_this_server_does(told, gateway, small, tls, python, grpcurl):
    about = {"gateway": "cats.example:443", "gatewayTls": tls, "bodyBytesMax": BODY_BYTES_MAX}
    told.route("**/about.json", lambda route: route.fulfill(json=about))
    told.reload()
    upload(told, small, count=1)
    told.click("#copy-open")
    for language, expected in (("Python", python), ("grpcurl", grpcurl)):
        told.get_by_role("radio", name=language, exact=True).click()
        assert expected in told.locator("#copy-text").inner_text()


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


def test_picture_that_is_shown_smaller_is_asked_about_in_its_own_pixels(told, gateway, tmp_path):
    gateway.answer = response(detection(region("cat", 3000, 300, 4800, 900), id="0"))
    image = tmp_path / "large.png"
    image.write_bytes(png(5000, 1000))
    upload(told, image, count=1)
    told.mouse.click(*at(told, 0.78, 0.6))
    told.get_by_role("button", name="What is it?").click()
    expect(answers(told)).to_have_count(2)
    (task,) = gateway.requests[-1].tasks
    assert task.region == types_pb2.Box(x0=3000, y0=300, x1=4800, y1=900)
