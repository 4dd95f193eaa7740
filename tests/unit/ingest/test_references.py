"""References to images, against a real HTTP server: only listed places, within the limits."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from arno.errors import ImageUnreachableError, LimitExceededError
from arno.ingest.settings import References
from arno.ingest.topics.references import Fetcher, without_query
from pydantic import ValidationError
from support import images

IMAGE = images.png()


class Site:
    """Answers by path, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.statuses: list[int] = []
        self.base = ""

    async def get(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        status = self.statuses.pop(0) if self.statuses else 200
        if request.path == "/hang":
            await asyncio.sleep(60)
        if request.path.startswith("/to/"):
            return web.Response(status=302, headers={"Location": request.query["url"]})
        if request.path == "/endless":
            endless = web.StreamResponse()
            await endless.prepare(request)
            while True:
                await endless.write(bytes(1000))
        return web.Response(status=status, body=IMAGE)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.get)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base = f"127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


class Fetching:
    """A fetcher whose pauses and retries are noted."""

    def __init__(self, attempts_max: int = 3, **places: object) -> None:
        self.pauses: list[float] = []
        self.retries: list[str] = []
        self.fetcher = Fetcher(
            References(**places),
            image_bytes_max=5000,
            attempts_max=attempts_max,
            on_retry=self.retries.append,
            pause=self._pause,
        )

    async def _pause(self, pause_s: float) -> None:
        self.pauses.append(pause_s)

    async def get(self, reference: str | bytes) -> bytes:
        value = reference.encode() if isinstance(reference, str) else reference
        try:
            return await self.fetcher.fetch(value)
        finally:
            await self.fetcher.close()

    async def refused(self, reference: str | bytes) -> str:
        with pytest.raises(ImageUnreachableError) as caught:
            await self.get(reference)
        return caught.value.message


def local(site: Site, **more: object) -> Fetching:
    return Fetching(hosts=(site.base,), http=True, allow_private=True, **more)


async def test_listed_host_is_asked_and_spaces_around_a_reference_do_not_count(site):
    assert await local(site).get(f" http://{site.base}/a.png?v=1\n") == IMAGE


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("http://other.example/a.png", "the host 'other.example' is not listed"),
        ("http://cdn.example.evil.test/a", "is not listed"),
        ("https://cdn.example:8443/a.png", "is not listed"),
        ("https://user:secret@cdn.example/a", "must hold no user and no password"),
        ("ftp://cdn.example/a.png", "not a reference to an image"),
        ("gopher:cdn.example", "not a reference to an image"),
        ("a.png", "not a reference to an image"),
        ("", "not a reference to an image"),
        (b"\xff\xfe", "no UTF-8"),
        ("https://[::1/a", "not an address"),
        ("s3://unlisted/a.png", "the bucket 'unlisted' is not listed; allowed: photos"),
        ("s3://photos/../other/a.png", "the key is no path"),
        ("/etc/passwd", "not in a listed folder"),
        ("file:///etc/passwd", "not in a listed folder"),
    ],
)
async def test_what_is_not_listed_is_refused_and_nothing_is_asked(tmp_path, reference, said):
    fetching = Fetching(
        hosts=("cdn.example", "*.cdn.example"),
        http=True,
        buckets={"photos": "https://store.example/photos"},
        folders=(tmp_path,),
    )
    assert said in await fetching.refused(reference)
    assert fetching.retries == []


async def test_plain_http_must_be_allowed():
    said = await Fetching(hosts=("cdn.example",)).refused("http://cdn.example/a.png")
    assert "http:// is not allowed; allowed: https://cdn.example" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:10.0.0.1]", "localhost", "169.254.169.254"])
async def test_private_address_is_refused_although_its_host_is_listed(host):
    fetching = Fetching(hosts=(host.strip("[]"),), http=True)
    assert "which is private" in await fetching.refused(f"http://{host}/a.png")
    assert fetching.retries == []


async def test_redirect_is_followed_to_listed_hosts_only(site):
    there = f"http://{site.base}/to/?url=http://{site.base}/a.png"
    assert await local(site).get(there) == IMAGE
    away = f"http://{site.base}/to/?url=http://169.254.169.254/latest"
    assert "'169.254.169.254' is not listed" in await local(site).refused(away)
    in_circles = f"http://{site.base}/to/?url=/to/%3Furl=/to/%253Furl=/to/%25253Furl=/to/"
    assert "more than 3 redirects" in await local(site).refused(in_circles)


async def test_bucket_is_asked_at_its_address(site):
    fetching = Fetching(buckets={"photos": f"http://{site.base}/b/"}, allow_private=True)
    assert await fetching.get("s3://photos/2026/a b.png") == IMAGE
    assert site.asked == ["/b/2026/a b.png"]


async def test_momentary_failures_are_tried_again_and_given_up_in_the_end(site):
    site.statuses = [503, 429]
    fetching = local(site)
    assert await fetching.get(f"http://{site.base}/a.png") == IMAGE
    assert (fetching.retries, fetching.pauses) == (["IMAGE_UNREACHABLE"] * 2, [0.5, 1.0])
    site.statuses = [500] * 3
    assert "status 500" in await local(site).refused(f"http://{site.base}/a.png")


async def test_status_that_will_not_change_is_not_tried_again(site):
    site.statuses = [404]
    fetching = local(site)
    assert "status 404" in await fetching.refused(f"http://{site.base}/a.png")
    assert fetching.retries == []


async def test_host_that_hangs_is_given_up(site):
    fetching = local(site, attempts_max=1, timeout_s=0.2)
    assert "no answer in time" in await fetching.refused(f"http://{site.base}/hang")


async def test_image_is_read_no_further_than_the_limit(site):
    with pytest.raises(LimitExceededError, match="the image is too large; allowed: 5000 bytes"):
        await local(site).get(f"http://{site.base}/endless")
    with pytest.raises(LimitExceededError, match="the reference is too long"):
        await local(site).get("https://cdn.example/" + "a" * 5000)


async def test_secret_of_an_address_is_in_no_message():
    said = await Fetching().refused("https://u:p@cdn.example/a.png?signature=abc")
    assert "signature" not in said
    assert without_query("https://u:p@cdn.example/a?b=c") == "https://cdn.example/a?..."
    assert without_query("/photos/a.png") == "/photos/a.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a b.png").write_bytes(IMAGE)
    (folder / "large.png").write_bytes(bytes(5001))
    (tmp_path / "secret.png").write_bytes(IMAGE)
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(folder / "pipe")
    return folder


async def test_file_of_a_listed_folder_is_read(folder):
    for reference in (f"{folder}/a b.png", f"file://{folder}/a%20b.png"):
        assert await Fetching(folders=(folder,)).get(reference) == IMAGE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../secret.png", "not in a listed folder"),
        ("out.png", "not in a listed folder"),
        ("pipe", "not a file"),
        (".", "not a file"),
        ("absent.png", "no such file"),
        ("a\0b", "not a reference"),
    ],
)
async def test_file_elsewhere_or_of_another_kind_is_refused(folder, name, said):
    assert said in await Fetching(folders=(folder,)).refused(f"{folder}/{name}")


async def test_file_above_the_limit_is_not_read(folder):
    with pytest.raises(LimitExceededError, match="sent: 5001 bytes"):
        await Fetching(folders=(folder,)).get(f"{folder}/large.png")


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"hosts": ["https://a.example"]}, "not a host"),
        ({"hosts": ["a.*.example"]}, "not a host"),
        ({"buckets": {"photos": "store.example"}}, "not an address"),
        ({"buckets": {"photos": "https://u:p@store.example"}}, "not an address"),
        ({"folders": ["photos"]}, "must be absolute"),
    ],
)
def test_places_of_another_form_are_refused(places, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        References(**places)
