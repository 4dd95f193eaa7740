"""Tools with which agents see: the Model Context Protocol, over stdio or HTTP.

A tool is one task on one image. Images come as data URLs, or as files below folders that the
operator listed; an address is never fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal, TypeAlias

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from arno import __version__
from arno.client import AsyncClient
from arno.errors import ArnoError
from arno.vocabulary import Box, FinishReason, QuadBox, Region, Task, bounding_box
from arno.vocabulary.results import InferResult
from arno.vocabulary.spec import TaskSpec
from arno.web.calls import client_for
from arno.web.guard import Guard
from arno.web.image_files import ImageFiles
from arno.web.settings import WebSettings

_INSTRUCTIONS: Final = (
    "See pictures with Florence-2. Every coordinate is in pixels of the picture as a viewer shows "
    "it, from its top left corner; boxes are x0, y0, x1, y1. Scores are in [0, 1]."
)

Picture: TypeAlias = Annotated[
    str, Field(description="Path of an image file in an allowed folder, or a base64 data URL.")
]
Sides: TypeAlias = Annotated[
    list[float], Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels.")
]
Call: TypeAlias = Context[AsyncClient, object]

_CAPTIONS: Final = {
    "short": Task.CAPTION,
    "detailed": Task.DETAILED_CAPTION,
    "paragraph": Task.MORE_DETAILED_CAPTION,
}
_QUESTIONS: Final = {
    "category": Task.REGION_TO_CATEGORY,
    "description": Task.REGION_TO_DESCRIPTION,
    "text": Task.REGION_TO_OCR,
}


class SeenRegion(BaseModel):
    """A place in the picture."""

    label: str
    box: list[float]
    outlines: list[list[list[float]]] | None = None
    score: float | None = None


class Seen(BaseModel):
    """What a task answered; `complete` is false where the answer was cut."""

    text: str
    regions: list[SeenRegion]
    width_px: int
    height_px: int
    complete: bool


class Tools:
    """The tools. Their signatures and docstrings are what agents are told."""

    def __init__(self, files: ImageFiles, *, timeout_s: float) -> None:
        """Take the images that may be read, and the time limit of a call."""
        self._files = files
        self._timeout_s = timeout_s

    async def caption(
        self, image: Picture, ctx: Call, detail: Literal["short", "detailed", "paragraph"] = "short"
    ) -> Seen:
        """Describe a picture in a sentence, a few sentences, or a paragraph."""
        return await self._see(ctx, image, TaskSpec(_CAPTIONS[detail]))

    async def detect(
        self,
        image: Picture,
        ctx: Call,
        classes: list[str] | None = None,
        min_score: Annotated[float, Field(ge=0, le=1)] = 0.0,
    ) -> Seen:
        """Find objects with their boxes: all that the model knows, or those of the given names."""
        task = Task.OPEN_VOCABULARY_DETECTION if classes else Task.OD
        spec = TaskSpec(task, classes=classes or (), min_score=min_score)
        return await self._see(ctx, image, spec)

    async def ground(self, image: Picture, phrase: str, ctx: Call) -> Seen:
        """Find the boxes of the things that a phrase or a caption names."""
        spec = TaskSpec(Task.CAPTION_TO_PHRASE_GROUNDING, text=phrase)
        return await self._see(ctx, image, spec)

    async def segment(
        self, image: Picture, ctx: Call, what: str = "", region: Sides | None = None
    ) -> Seen:
        """Outline what a phrase names, or what is in a region: give one of the two."""
        if (region is None) == (not what):
            raise ToolError("give `what` or `region`, and not both")
        if region is None:
            spec = TaskSpec(Task.REFERRING_EXPRESSION_SEGMENTATION, text=what)
        else:
            spec = TaskSpec(Task.REGION_TO_SEGMENTATION, region=region)
        return await self._see(ctx, image, spec)

    async def read_text(self, image: Picture, ctx: Call) -> Seen:
        """Read the text in a picture, each part with its place."""
        return await self._see(ctx, image, TaskSpec(Task.OCR_WITH_REGION))

    async def look_at_region(
        self,
        image: Picture,
        region: Sides,
        ctx: Call,
        question: Literal["category", "description", "text"] = "description",
    ) -> Seen:
        """Say what is in a region: its category, a description, or the text in it."""
        return await self._see(ctx, image, TaskSpec(_QUESTIONS[question], region=region))

    async def ask(self, image: Picture, question: str, ctx: Call) -> Seen:
        """Ask the model a question of your own about a picture, such as how many there are."""
        return await self._see(ctx, image, TaskSpec(Task.PROMPT, text=question))

    async def _see(self, ctx: Call, image: str, spec: TaskSpec) -> Seen:
        try:
            client = client_for(ctx.request_context.lifespan_context, ctx.headers or {})
            content = await asyncio.to_thread(self._files.read, image)
            return _seen(await client.infer(content, spec, timeout_s=self._timeout_s))
        except ArnoError as error:
            raise ToolError(f"{error.reason}: {error.message}") from error


def make_mcp_server(
    connect: Callable[[], AsyncClient], files: ImageFiles, *, timeout_s: float
) -> MCPServer[AsyncClient]:
    """Return the server.

    Args:
        connect: Makes the client of the gateway; called in the loop that serves.
        files: The images that may be read.
        timeout_s: Time limit of a call of a tool.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[AsyncClient]) -> AsyncIterator[AsyncClient]:
        async with connect() as client:
            yield client

    server = MCPServer(
        "arno",
        instructions=_INSTRUCTIONS,
        version=__version__,
        lifespan=lifespan,
        log_level="WARNING",
    )
    tools = Tools(files, timeout_s=timeout_s)
    for tool in (
        tools.caption,
        tools.detect,
        tools.ground,
        tools.segment,
        tools.read_text,
        tools.look_at_region,
        tools.ask,
    ):
        server.add_tool(tool)
    return server


def over_http(server: MCPServer[AsyncClient], settings: WebSettings) -> ASGIApp:
    """Return the server as a web application, at `/mcp`, behind the guard of the web process."""
    application = server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        max_request_body_size=settings.web_body_bytes_max,
        # The guard checks `Host` and `Origin`, with the settings of the web process.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return Guard(application, settings)


def _seen(result: InferResult) -> Seen:
    (task,) = result.tasks
    answer = task.answer
    regions = [_seen_region(region) for region in answer.regions]
    return Seen(
        text=task.answer_text,
        regions=regions,
        width_px=result.image.width_px if result.image else 0,
        height_px=result.image.height_px if result.image else 0,
        complete=answer.finish_reason is FinishReason.STOP,
    )


def _seen_region(region: Region) -> SeenRegion:
    box = bounding_box(region.shape)
    match region.shape:
        case Box():
            outlines = None
        case QuadBox(points):
            outlines = [[_rounded(point.x, point.y) for point in points]]
        case polygons:
            outlines = [
                [_rounded(point.x, point.y) for point in polygon.points] for polygon in polygons
            ]
    score = None if region.score is None else round(region.score, 4)
    sides = _rounded(box.x0, box.y0, box.x1, box.y1)
    return SeenRegion(label=region.label, box=sides, outlines=outlines, score=score)


def _rounded(*numbers: float) -> list[float]:
    return [round(number, 2) for number in numbers]
