"""What mutations start from: every kind of image that is read, and every call of the API."""

from __future__ import annotations

from functools import cache

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from PIL import Image
from support import images


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
