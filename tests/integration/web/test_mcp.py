"""The official client of the Model Context Protocol, over stdio and over HTTP."""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from arno.api.v1 import types_pb2
from arno.client import AsyncClient
from arno.errors import InvalidFieldError, LimitExceededError
from arno.web.image_files import ImageFiles
from arno.web.mcp_server import make_mcp_server, over_http
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from support.answers import caption, detection, response
from support.images import png
from support.scripted_gateway import refusal
from support.web_server import served

DATA_URL = "data:image/png;base64," + base64.b64encode(png()).decode()
TOOLS = {"caption", "detect", "ground", "segment", "read_text", "look_at_region", "ask"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "cat.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    return folder


@pytest.fixture
def http_url(gateway) -> Iterator[str]:
    files = ImageFiles([], bytes_max=100_000)
    server = make_mcp_server(lambda: AsyncClient(gateway.address), files, timeout_s=20)
    with served(lambda settings: over_http(server, settings)) as url:
        yield f"{url}/mcp"


@asynccontextmanager
async def over_stdio(gateway, folder) -> AsyncIterator[Client]:
    words = ["-m", "arno.cli", "mcp", "--address", gateway.address, "--folder", str(folder)]
    async with Client(StdioServerParameters(command=sys.executable, args=words)) as client:
        yield client


async def test_agent_sees_files_over_stdio(gateway, folder):
    async with over_stdio(gateway, folder) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        seen = await client.call_tool("detect", {"image": "cat.png", "classes": ["cat"]})
        assert not seen.is_error
        assert seen.structured_content == {
            "text": "cat",
            "regions": [
                {"label": "cat", "box": [1.0, 2.0, 30.0, 40.0], "outlines": None, "score": 0.9}
            ],
            "width_px": 200,
            "height_px": 100,
            "complete": True,
        }
        (task,) = gateway.requests[0].tasks
        assert (task.task, list(task.classes)) == (
            types_pb2.TASK_OPEN_VOCABULARY_DETECTION,
            ["cat"],
        )
        for path in ("../secret.png", "link.png", str(folder.parent / "secret.png"), "none.png"):
            refused = await client.call_tool("caption", {"image": path})
            assert refused.is_error
            assert "no such file in a folder that may be read" in refused.content[0].text
        refused = await client.call_tool("caption", {"image": "http://127.0.0.1/x.png"})
        assert "addresses are not fetched" in refused.content[0].text
    assert len(gateway.requests) == 1


async def test_agent_sees_data_urls_over_http_with_its_own_key(gateway, http_url):
    gateway.answer = response(caption("A cat."))
    async with (
        httpx2.AsyncClient(headers={"authorization": "Bearer arno_key"}) as http,
        Client(streamable_http_client(http_url, http_client=http)) as client,
    ):
        seen = await client.call_tool("caption", {"image": DATA_URL, "detail": "paragraph"})
    assert seen.structured_content["text"] == "A cat."
    assert seen.structured_content["complete"] is False
    assert gateway.keys == ["arno_key"]
    assert gateway.requests[0].tasks[0].task == types_pb2.TASK_MORE_DETAILED_CAPTION
    assert gateway.requests[0].image.content == png()


@pytest.mark.parametrize(
    ("tool", "words", "task"),
    [
        ("ground", {"phrase": "a cat"}, types_pb2.TASK_CAPTION_TO_PHRASE_GROUNDING),
        ("segment", {"what": "a cat"}, types_pb2.TASK_REFERRING_EXPRESSION_SEGMENTATION),
        ("segment", {"region": [1, 2, 3, 4]}, types_pb2.TASK_REGION_TO_SEGMENTATION),
        ("read_text", {}, types_pb2.TASK_OCR_WITH_REGION),
        (
            "look_at_region",
            {"region": [1, 2, 3, 4], "question": "text"},
            types_pb2.TASK_REGION_TO_OCR,
        ),
        ("ask", {"question": "How many?"}, types_pb2.TASK_PROMPT),
        ("detect", {}, types_pb2.TASK_OD),
    ],
)
async def test_each_tool_is_one_task(gateway, http_url, tool, words, task):
    async with Client(http_url) as client:
        seen = await client.call_tool(tool, {"image": DATA_URL, **words})
    assert not seen.is_error, seen.content
    assert gateway.requests[0].tasks[0].task == task


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"image": "cat.png", "what": "x"}, "none; send a data URL"),
        ({"image": DATA_URL, "what": "x", "region": [1, 2, 3, 4]}, "and not both"),
        ({"image": DATA_URL}, "give `what` or `region`"),
        ({"image": DATA_URL, "region": [1]}, "region"),
    ],
    ids=["no folder", "both", "neither", "half a region"],
)
async def test_what_makes_no_sense_is_told_to_the_agent(gateway, http_url, words, said):
    async with Client(http_url) as client:
        refused = await client.call_tool("segment", words)
    assert refused.is_error
    assert said in refused.content[0].text
    assert not gateway.requests


async def test_refusal_of_the_gateway_is_told_with_its_reason(gateway, http_url):
    gateway.refuse = refusal(8, "QUOTA_EXCEEDED", "quota jobs_in_flight")
    async with Client(http_url) as client:
        refused = await client.call_tool("caption", {"image": DATA_URL})
    assert refused.content[0].text.endswith("QUOTA_EXCEEDED: quota jobs_in_flight")


def test_page_of_another_origin_cannot_call_tools(gateway, http_url):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}):
        assert httpx2.post(http_url, json=body, headers=headers).status_code == 403


def test_large_file_and_folder_are_refused(folder):
    files = ImageFiles([folder], bytes_max=10)
    with pytest.raises(LimitExceededError, match="10 bytes"):
        files.read("cat.png")
    with pytest.raises(InvalidFieldError):
        files.read(".")


async def test_answer_without_a_region_is_empty(gateway, http_url):
    gateway.answer = response(detection(id="0"))
    async with Client(http_url) as client:
        seen = await client.call_tool("detect", {"image": DATA_URL})
    assert seen.structured_content["regions"] == []
