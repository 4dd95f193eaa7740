"""Every parser of bytes from outside: what a mutation starts from, and what reads it.

A reader returns, or raises an `ArnoError` that refuses the bytes by name; anything else is a fault.
The seeds are those of the code and the files in `corpus/NAME`, which once were a fault.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from arno.api.v1 import vision_pb2
from arno.bulk.record import Record as AnswerRecord
from arno.bus import Delivery, Receipt, Record
from arno.dataset import shards
from arno.dataset.folder import MANIFEST, read_manifest
from arno.dataset.shards import Shard, record_of_line
from arno.errors import InvalidFieldError
from arno.gateway.access.key_file import read_key_file
from arno.gateway.settings import GatewaySettings
from arno.gateway.task_validation import check_regions, parse_tasks
from arno.images.decode import ImageLimits, decode_image, inspect_image
from arno.ops.clock import SYSTEM_CLOCK
from arno.vocabulary import ImageSize
from arno.vocabulary.prompts import build_prompt
from arno.web.request_reader import read_asked
from arno.worker.job import Job
from arno.worker.prepare_queue import PreparePlan, PrepareQueue
from fuzz import seeds
from google.protobuf.message import DecodeError
from starlette.exceptions import HTTPException
from starlette.requests import Request

IMAGE_LIMITS = ImageLimits(bytes_max=1 << 20, pixels_max=16_000_000)
_CORPUS = Path(__file__).parent / "corpus"
_PLAN = PreparePlan(quick_count=1, slow_count=2, pixels_max=100_000_000, tenant_share=0.5)


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    Attributes:
        name: As the command line and the corpus name it.
        code_seeds: Returns what its mutations start from.
        read: Reads bytes as the product does.
    """

    name: str
    code_seeds: Callable[[], tuple[bytes, ...]]
    read: Callable[[bytes], object]

    def seeds(self) -> tuple[bytes, ...]:
        """Return the seeds, kept ones included."""
        return (*self.code_seeds(), *_kept(self.name))


@cache
def _kept(name: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted((_CORPUS / name).glob("*")))


def _image(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inspect_image(content, IMAGE_LIMITS)
        decode_image(content, IMAGE_LIMITS)


def _record(content: bytes) -> None:
    """Read a job's record as a worker does, up to its turn to be prepared."""
    job = Job(
        Delivery(Record("batch", content), Receipt("batch", 0, "0", 1), 0), consumer=_NoConsumer()
    )
    queue = PrepareQueue(SYSTEM_CLOCK, _PLAN)
    queue.put(job)
    if len(queue) != 1:
        raise AssertionError("the record is not queued")
    if job.unreadable is not None:
        raise job.unreadable


class _NoConsumer:
    """Stands where nothing is declared done."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of a consumer is used")


def _tasks(content: bytes) -> None:
    """Read the tasks of a request, and write the prompt of each."""
    try:
        request = vision_pb2.InferRequest.FromString(content)
    except DecodeError as error:
        raise InvalidFieldError(field="request", problem=str(error)) from error
    specs = parse_tasks(request.tasks, limits=GatewaySettings())
    size = ImageSize(64, 48)
    check_regions(specs, size)
    for spec in specs:
        # A task that follows another one gets its inputs from that one's answer.
        if spec.input_from is None:
            build_prompt(
                spec.task, text=spec.text, classes=spec.classes, region=spec.region, size=size
            ).encode()


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    """Return a reader of bytes for one of files: what it reads is a file of that name."""

    def read_file(content: bytes) -> None:
        path = Path(_scratch()) / name
        path.write_bytes(content)
        read(path)

    return read_file


@cache
def _scratch() -> str:
    # Removed with the process: nothing else refers to the object.
    folder = tempfile.TemporaryDirectory(prefix="arno-fuzz-")
    _FOLDERS.append(folder)
    return folder.name


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


# Torch is imported where it is needed: most targets do without.


def _config(path: Path) -> None:
    from arno.engine.checkpoints.config import build_config, read_stored_config

    stored = read_stored_config(path.parent)
    build_config(stored, image_token_id=3)


def _recipe(path: Path) -> None:
    from arno.engine.checkpoints.config import read_recipe

    read_recipe(path.parent)


def _weights(path: Path) -> None:
    from arno.engine.checkpoints.stored_weights import read_stored_weights

    folder = path.parent / f"of-{path.name}"
    folder.mkdir(exist_ok=True)
    path.replace(folder / path.name)
    for tensor in read_stored_weights(folder).values():
        tensor.read()


def _shard(path: Path) -> None:
    shards._row_group.cache_clear()
    for _ in Shard(path):
        pass


def _asked(media_type: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": content, "more_body": False}

        headers = [(b"content-type", media_type.encode())]
        # With an application starlette refuses broken forms as the web process answers them.
        scope = {"type": "http", "method": "POST", "headers": headers, "app": None}
        request = Request(scope, receive)
        asyncio.run(_read_and_close(request))

    return read


async def _read_and_close(request: Request) -> None:
    try:
        await read_asked(request, vision_pb2.InferRequest())
    except HTTPException as error:
        raise InvalidFieldError(field="body", problem=error.detail) from error
    finally:
        await request.close()


def _manifest(path: Path) -> None:
    read_manifest(path.parent)


_BOUNDARY = "frontier"

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("images", seeds.image_seeds, _image),
        Target("records", seeds.record_seeds, _record),
        Target("tasks", seeds.task_seeds, _tasks),
        Target("keys", seeds.key_file_seeds, _file("keys.json", read_key_file)),
        Target("configs", seeds.config_seeds, _file("config.json", _config)),
        Target(
            "processors",
            seeds.processor_seeds,
            _file("preprocessor_config.json", _recipe),
        ),
        Target("weights", seeds.safetensors_seeds, _file("model.safetensors", _weights)),
        Target("pickles", seeds.pickle_seeds, _file("pytorch_model.bin", _weights)),
        Target("lines", seeds.line_seeds, lambda content: record_of_line(content, "line")),
        Target("parquet", seeds.parquet_seeds, _file("part-000000.parquet", _shard)),
        Target("manifests", seeds.manifest_seeds, _file(MANIFEST, _manifest)),
        Target(
            "answers",
            seeds.answer_seeds,
            lambda content: AnswerRecord.of_line(content, where="line"),
        ),
        Target("web-json", seeds.web_json_seeds, _asked("application/json")),
        Target(
            "web-forms",
            lambda: seeds.web_form_seeds(_BOUNDARY),
            _asked(f"multipart/form-data; boundary={_BOUNDARY}"),
        ),
    )
}
"""By their names, in the order in which they run."""


def _die(content: bytes) -> None:
    if len(content) % 64 == 3:
        os.abort()


PLANTED: Mapping[str, Target] = {"dies": Target("dies", seeds.record_seeds, _die)}
"""What the supervision is tested with."""
