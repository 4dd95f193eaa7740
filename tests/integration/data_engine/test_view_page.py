"""The page of a data set in a browser: filters narrow it, and nothing is fetched."""

from __future__ import annotations

import os

import pytest
from arno.data_engine.view import write_view
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.shards import ShardFormat
from PIL import Image
from support.annotated import record, region, text
from support.browser import WAYS_TO_GET_IT, chromium, running_browser

if chromium() is None and not os.environ.get("CI"):
    pytest.skip(WAYS_TO_GET_IT, allow_module_level=True)


@pytest.fixture
def page_file(tmp_path):
    folder = tmp_path / "set"
    with DatasetWriter(folder, Manifest(format=ShardFormat.JSONL)) as writer:
        for at, name in enumerate(("cat", "dog", "dog")):
            said = region(name, 20.0, 10.0, 60.0, 50.0, score=0.9 - at / 5, agreement=1 - at / 4)
            writer.write(record(at, regions=(said,), texts=(text(f"A <{name}>."),)))
            Image.new("RGB", (200, 100), "navy").save(folder / f"{at}.png")
    write_view(Dataset(folder), tmp_path / "view.html", sort="disagreement", count=9)
    return tmp_path / "view.html"


@pytest.mark.tools
def test_filters_and_orders_of_the_page(page_file):
    with running_browser() as browser:
        page = browser.new_page()
        requests, errors = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        ids = lambda: [one.inner_text() for one in page.query_selector_all("article .id")]  # noqa: E731
        assert ids() == ["image-2", "image-1", "image-0"]
        page.select_option("select[name=sort]", "position")
        assert ids() == ["image-0", "image-1", "image-2"]
        page.select_option("select[name=label]", "dog")
        assert ids() == ["image-1", "image-2"]
        page.fill("input[name=least]", "0.6")
        assert ids() == ["image-1"]
        assert page.inner_text("#shown") == "1 of 3 images, 1 annotations"
        page.select_option("select[name=label]", "")
        page.fill("input[name=least]", "0")
        page.fill("input[name=words]", "<cat>")
        assert ids() == ["image-0"]
        assert "A <cat>." in page.inner_text("article")
        assert page.evaluate("document.querySelector('img').naturalWidth") > 0
        assert errors == []
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
