"""What mutations start from: for every parser small inputs of each kind that it reads."""

from __future__ import annotations

import base64
import io
import json
import struct
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.bulk import Item
from arno.bulk import Record as AnswerRecord
from arno.bus.v1.records_pb2 import BlobReference, JobRecord
from arno.dataset import ImageRecord
from arno.dataset.folder import Manifest
from arno.dataset.shards import line_of, write_shard
from PIL import Image
from support import annotated, images
from support.bulk import seen
from support.job_client import job_record


@cache
def image_seeds() -> tuple[bytes, ...]:
    """Return small files of every type, mode and trick."""
    colourful = Image.radial_gradient("L").resize((48, 36))
    rgb = Image.merge("RGB", (colourful, colourful.rotate(90), colourful.rotate(180)))
    return (
        *(images.jpeg(), images.png(), images.cmyk_jpeg(), images.rotated_jpeg()),
        *(images.animated_gif(), images.sixteen_bit_png(), images.palette_alpha_png()),
        *(images.png_bomb(), images.png_bomb(60_000, 60_000), images.jpeg()[:-40]),
        images.encoded(rgb, "JPEG", progressive=True, quality=60),
        images.scan_bomb(256, 200),
        images.encoded(rgb, "JPEG", quality=90, subsampling=0),
        images.encoded(rgb, "PNG"),
        images.encoded(rgb.convert("LA"), "PNG"),
        images.encoded(rgb.convert("1"), "PNG"),
        images.encoded(rgb, "BMP"),
        images.encoded(rgb.convert("P"), "BMP"),
        images.encoded(rgb.convert("P"), "GIF", interlace=1),
        images.encoded(rgb, "WEBP", quality=60),
        images.encoded(rgb, "WEBP", lossless=True),
        images.encoded(rgb.convert("RGBA"), "WEBP", save_all=True, append_images=[rgb]),
        images.encoded(rgb, "TIFF"),
        images.encoded(rgb, "TIFF", compression="tiff_lzw"),
        images.encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        images.encoded(rgb.convert("L"), "TIFF", compression="packbits"),
        images.encoded(rgb.convert("1"), "TIFF", compression="group4"),
        images.encoded(rgb.convert("F"), "TIFF"),
        images.encoded(rgb.convert("CMYK"), "TIFF"),
        images.encoded(rgb, "TIFF", save_all=True, append_images=[rgb]),
    )


@cache
def call_seeds() -> dict[str, tuple[bytes, ...]]:
    """Return serialized requests by the path of their method."""
    image = types_pb2.Image(content=images.jpeg())
    box = types_pb2.Box(x0=1, y0=1, x1=40, y1=40)
    tasks = [
        types_pb2.TaskSpec(task=types_pb2.TASK_OD, id="od"),
        types_pb2.TaskSpec(task=types_pb2.TASK_REGION_TO_CATEGORY, region=box),
        types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION_TO_PHRASE_GROUNDING, text="a red box"),
        types_pb2.TaskSpec(
            task=types_pb2.TASK_REGION_TO_DESCRIPTION, input_from="od", fan_out_max=3
        ),
    ]
    infer = [
        vision_pb2.InferRequest(image=image, tasks=tasks, idempotency_key="key-1"),
        vision_pb2.InferRequest(image=image, tasks=tasks[:1], lane=types_pb2.LANE_BATCH),
        vision_pb2.InferRequest(image=types_pb2.Image(content=images.png_bomb()), tasks=tasks[:1]),
    ]
    job = job_pb2.SubmitJobRequest(image=image, tasks=tasks, idempotency_key="key-2")
    job.time_to_live.FromSeconds(5)
    named = b"\n\x20" + b"0123456789abcdef" * 2
    service, jobs = "/arno.api.v1.VisionService", "/arno.api.v1.JobService"
    return {
        f"{service}/Infer": tuple(each.SerializeToString() for each in infer),
        f"{jobs}/SubmitJob": (job.SerializeToString(),),
        f"{jobs}/GetJob": (named,),
        f"{jobs}/CancelJob": (named,),
        f"{jobs}/DeleteJob": (named,),
        f"{jobs}/WatchJob": (named,),
        f"{service}/InferStream": stream_seeds(),
    }


@cache
def stream_seeds() -> tuple[bytes, ...]:
    """Return the messages of a stream."""
    config = vision_pb2.StreamConfig(
        tasks=[types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION)],
        policy=vision_pb2.STREAM_POLICY_LATEST,
        in_flight_max=2,
        frame_timeout_ms=500,
    )
    frame = vision_pb2.Frame(image=types_pb2.Image(content=images.jpeg()), sequence=1)
    return (
        vision_pb2.InferStreamRequest(config=config).SerializeToString(),
        vision_pb2.InferStreamRequest(frame=frame).SerializeToString(),
    )


@cache
def record_seeds() -> tuple[bytes, ...]:
    """Return jobs as gateways write them."""
    inline = job_record()
    inline.tenant, inline.image_scan_count, inline.predicted_cost = "acme", 10, 400.0
    inline.image_description.CopyFrom(types_pb2.ImageDescription(width_px=64, height_px=48))
    stored = JobRecord()
    stored.CopyFrom(inline)
    stored.blob.CopyFrom(BlobReference(sha256="0" * 64, size_bytes=1 << 20))
    return tuple(each.SerializeToString() for each in (inline, stored))


@cache
def task_seeds() -> tuple[bytes, ...]:
    """Return requests whose bytes are nearly all tasks."""
    answers = [types_pb2.Candidate(text=text) for text in ("a cat", "a dog")]
    scored = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION, candidates=answers)
    options = types_pb2.GenerationOptions(num_beams=2)
    prompted = types_pb2.TaskSpec(
        task=types_pb2.TASK_OPEN_VOCABULARY_DETECTION, text="caf\u00e9", options=options
    )
    requests = [vision_pb2.InferRequest(tasks=[each]) for each in (scored, prompted)]
    for seed in call_seeds()["/arno.api.v1.VisionService/Infer"]:
        request = vision_pb2.InferRequest.FromString(seed)
        request.ClearField("image")
        requests.append(request)
    return tuple(each.SerializeToString() for each in requests)


@cache
def key_file_seeds() -> tuple[bytes, ...]:
    """Return files of API keys."""
    entry = {
        "id": "k7m2q9xw",
        "tenant": "acme",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "created_at": "2026-11-25T08:00:00Z",
        "expires_at": None,
    }
    limits = {"requests_per_s": 50, "jobs_in_flight": 2, "stored_bytes": 1 << 30}
    whole = {"version": 1, "tenants": {"acme": limits}, "keys": [entry]}
    return _json(whole, {"version": 1}, {"keys": [entry, {**entry, "id": "k7m2q9xa"}]})


@cache
def config_seeds() -> tuple[bytes, ...]:
    """Return configurations of both layouts."""
    native = json.loads(_tiny("config.json"))
    vision = {"dim_embed": [16, 32], "num_heads": [1, 2], "projection_dim": 32}
    older = {**native, "auto_map": {}, "vision_config": vision}
    return _json(native, older)


@cache
def processor_seeds() -> tuple[bytes, ...]:
    """Return configurations of image processors."""
    return (_tiny("processor_config.json"),)


@cache
def safetensors_seeds() -> tuple[bytes, ...]:
    """Return files of weights: a length, a header in JSON, and numbers."""
    two = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    }
    one = {"a": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}
    return tuple(
        struct.pack("<Q", len(header)) + header + bytes(size)
        for header, size in ((json.dumps(two).encode(), 32), (json.dumps(one).encode(), 8))
    )


@cache
def pickle_seeds() -> tuple[bytes, ...]:
    """Return files of weights as torch writes them, old and new."""
    import torch

    weights = {"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    found = []
    for archive in (True, False):
        file = io.BytesIO()
        torch.save(weights, file, _use_new_zipfile_serialization=archive)
        found.append(file.getvalue())
    return tuple(found)


@cache
def line_seeds() -> tuple[bytes, ...]:
    """Return records of data sets as lines of JSON."""
    return tuple(line_of(record).encode() for record in _dataset_records())


@cache
def parquet_seeds() -> tuple[bytes, ...]:
    """Return shards in Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-000000.parquet"
        write_shard(path, _dataset_records())
        return (path.read_bytes(),)


@cache
def manifest_seeds() -> tuple[bytes, ...]:
    """Return manifests of data sets."""
    whole = Manifest(steps=({"verb": "annotate", "counts": {"images": 2}},))
    return _json(whole.model_dump(mode="json"), {"version": 1})


@cache
def answer_seeds() -> tuple[bytes, ...]:
    """Return lines of answer folders."""
    item = Item("a.jpg", lambda: b"", fields={"n": 1})
    whole = json.loads(AnswerRecord.of(item, seen("a")).line())
    placed = {**whole, "file": "images.tar", "offset": 512, "size_bytes": 10}
    return _json(whole, placed, {**whole, "results": []})


@cache
def web_json_seeds() -> tuple[bytes, ...]:
    """Return bodies of requests over HTTP."""
    image = base64.b64encode(images.jpeg()).decode()
    short = {"image": image, "tasks": ["od", {"task": "ocr", "region": [1, 1, 9, 9]}]}
    url = {"image": f"data:image/jpeg;base64,{image}", "tasks": ["caption"], "lane": "batch"}
    long = {"image": {"content": image}, "tasks": [{"task": "TASK_OD", "id": "a"}]}
    return _json(short, url, long)


@cache
def web_form_seeds(boundary: str) -> tuple[bytes, ...]:
    """Return the same as forms with a file."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    task = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="task"\r\n\r\nod'
    end = f"\r\n--{boundary}--\r\n"
    return (
        head.encode() + images.jpeg() + (task + end).encode(),
        (task + task + end).lstrip().encode(),
    )


def _dataset_records() -> list[ImageRecord]:
    return [annotated.full_record(), annotated.record(7)]


def _json(*documents: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(document).encode() for document in documents)


def _tiny(name: str) -> bytes:
    return (resources.files("arno.engine.tiny") / name).read_bytes()
