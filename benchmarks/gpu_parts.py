"""Measure the parts of the path for GPUs: `python -m benchmarks.gpu_parts PART...`.

Each figure is printed as one line of JSON as soon as it is known, so that a run that is cut off
keeps what it had. With `--model dry --device cpu` the same code runs without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
import transformers
from arno.engine import DecodingOptions, EngineSettings, SequenceFinished
from arno.engine.checkpoints import Checkpoint, load_checkpoint
from arno.engine.compiled.start import lay_out_encoders
from arno.engine.continuous_engine import ContinuousEngine
from arno.engine.decoding.batch import DecodeBatch
from arno.engine.decoding.decoder import Decoder
from arno.engine.decoding.launchers import StepShape
from arno.engine.device import DeviceLostError
from arno.engine.encoding.image_encoding import encode_images
from arno.engine.encoding.image_preparation import Normaliser
from arno.engine.layers.vision_gpu import compile_vision
from arno.engine.sequences.task_sequences import run_to_end, task_request
from arno.vocabulary import Task, TaskSpec

from benchmarks.ask import Ask, Serving
from benchmarks.engines.florence import Florence
from benchmarks.models import find_model
from benchmarks.pictures import picture

_PEAK_FLOPS: Final = 989e12
"""Dense bfloat16 products of an H100 SXM, by its data sheet."""

_ENCODE_FLOPS: Final = 0.381e12
"""Of one image in the base model's vision encoder."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is measured, and where.

    Attributes:
        model: The checkpoint's folder.
        device: ``cpu`` or ``cuda``.
        dtype: torch's name of a number format.
        seconds: What each figure may take.
        threads: Threads that prepare images.
    """

    model: Path
    device: str
    dtype: str
    seconds: float
    threads: int

    def settings(self, **changes: object) -> EngineSettings:
        """Return the engine's settings, with some of them changed."""
        facts = {
            "model": str(self.model),
            "device": self.device,
            "dtype": self.dtype,
            "allow_untrained": True,
        }
        return EngineSettings.model_validate(facts | changes)


def note(**facts: object) -> None:
    """Print a figure."""
    print(json.dumps(facts), flush=True)


def wait(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def timed(run: Run, work: Callable[[], object]) -> float:
    """Return the median seconds of some work, each time waited for."""
    for _ in range(3):
        work()
    wait(run.device)
    took_s: list[float] = []
    end_s = time.monotonic() + run.seconds
    while len(took_s) < 5 or (time.monotonic() < end_s and len(took_s) < 50):
        began_s = time.perf_counter()
        work()
        wait(run.device)
        took_s.append(time.perf_counter() - began_s)
    return median(took_s)


def machine(run: Run) -> None:
    """Say what is measured on: the first line of a run."""
    device = f"one {torch.cuda.get_device_name()}" if run.device == "cuda" else "no GPU"
    torch_version, version = (each.__version__ for each in (torch, transformers))
    note(
        machine=f"{device} and {os.cpu_count()} {platform.machine()} cores, torch "
        f"{torch_version.partition('+')[0]} and transformers {version}"
    )


def exactness(run: Run) -> None:
    """Compare answers in float32 on the device with transformers' own on the CPU.

    In the last of three turns another thread pins memory, which must not disturb recordings.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    folder = find_model("tiny", run.model.parent)
    tasks = (Task.CAPTION, Task.OD, Task.DENSE_REGION_CAPTION, Task.OCR_WITH_REGION)
    theirs = Florence(Serving(str(folder)))
    settings = run.settings(
        model="tiny", dtype="float32", batch_sequences_max=8, vision_compile="off"
    )
    engine = ContinuousEngine(load_checkpoint(settings), settings)
    began_s = time.monotonic()
    engine.warm_up()
    note(part="exactness", what="warm-up of tiny", seconds=time.monotonic() - began_s)
    requests, asks = [], []
    for number in range(24):
        content, spec = picture(number), TaskSpec(tasks[number % len(tasks)])
        beams = 3 if number % 3 else 1
        options = DecodingOptions(num_beams=beams, max_new_tokens=60)
        asked = task_request(str(number), spec, engine.prepare(content), options=options)
        requests.append(asked)
        asks.append(Ask(number, spec.task, asked.prompt, content, 60, beams))
    expected = [theirs.answer([ask])[0] for ask in asks]
    for turn in range(3):
        with _pinning() if turn == 2 and run.device == "cuda" else contextlib.nullcontext():
            ends = run_to_end(engine, requests)
        equal = [ended.token_ids == tokens for ended, tokens in zip(ends, expected, strict=True)]
        failed = sum(ended.error is not None for ended in ends)
        note(part="exactness", turn=turn, equal=sum(equal), of=len(equal), failed=failed)
    engine.close()


@contextlib.contextmanager
def _pinning() -> Iterator[None]:
    """Pin memory on another thread meanwhile."""
    over = threading.Event()

    def pin() -> None:
        while not over.is_set():
            torch.empty(1 << 20, dtype=torch.uint8).pin_memory()

    thread = threading.Thread(target=pin)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _captions(engine: ContinuousEngine, count: int, tokens: int = 16) -> list[Any]:
    options = DecodingOptions(max_new_tokens=tokens)
    spec = TaskSpec(Task.CAPTION)
    return [
        task_request(str(number), spec, engine.prepare(picture(number)), options=options)
        for number in range(count)
    ]


def waits(run: Run) -> None:
    """Count the host's waits for the device, by the line of Arno that waits.

    One a step is right, and two for sequences that leave.
    """
    settings = run.settings(batch_sequences_max=16, admit_sequences_max=8, vision_compile="off")
    engine = ContinuousEngine(load_checkpoint(settings), settings)
    engine.warm_up()
    steps = engine.statistics().step_count
    requests = _captions(engine, 32)
    if run.device == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run_to_end(engine, requests)
    if run.device == "cuda":
        torch.cuda.set_sync_debug_mode("default")
    found = Counter(f"{Path(each.filename).name}:{each.lineno}" for each in seen)
    note(part="waits", steps=engine.statistics().step_count - steps, of=dict(found))
    engine.close()


def full(run: Run) -> None:
    """Leave a GPU 1 GB of memory: fewer sequences run together, and none fails."""
    settings = run.settings(
        batch_sequences_max=64, admit_sequences_max=16, vision_compile="off",
        decode_cache_bytes=1 << 34,
    )  # fmt: skip
    engine = ContinuousEngine(load_checkpoint(settings), settings)
    requests = _captions(engine, 64)
    filled = None
    if run.device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        filled = torch.empty(max(0, free - (1 << 30)), dtype=torch.uint8, device="cuda")
    ends = run_to_end(engine, requests)
    note(part="full", answered=sum(end.error is None for end in ends), of=len(ends),
         failed_batches=engine.statistics().failed_batch_count)  # fmt: skip
    del filled
    engine.close()


def lost(run: Run) -> None:
    """Lose the GPU by an assertion on it: the engine ends, and blames no sequence. The last."""
    settings = run.settings(model="tiny", vision_compile="off")
    engine = ContinuousEngine(load_checkpoint(settings), settings)
    for request in _captions(engine, 4):
        engine.submit(request)
    if run.device == "cuda":
        nothing = torch.zeros(1, device="cuda")
        with contextlib.suppress(RuntimeError):
            nothing[torch.tensor([7], device="cuda")].sum()
    ended: list[object] = []
    try:
        while engine.statistics().waiting_count or engine.statistics().running_count:
            ended += [each for each in engine.step() if isinstance(each, SequenceFinished)]
    except DeviceLostError as fault:
        note(part="lost", raised=type(fault).__name__, blamed=len(ended))
        return
    note(part="lost", raised=None, ended=len(ended))


def encode(run: Run) -> None:
    """Measure the vision encoder as it is, laid out, and compiled."""
    checkpoint = load_checkpoint(run.settings())
    network, normalise = checkpoint.network, Normaliser(checkpoint.recipe, torch.device(run.device))
    side_px = checkpoint.recipe.side_px
    blank = torch.zeros(3, side_px, side_px, dtype=torch.uint8, device=run.device)

    def sweep(form: str, counts: Iterable[int]) -> None:
        for count in counts:
            took_s = timed(run, partial(encode_images, network, normalise, [blank] * count))
            share = _ENCODE_FLOPS * count / took_s / _PEAK_FLOPS
            note(part="encode", form=form, images=count, ms_image=1e3 * took_s / count, peak=share)

    sweep("as it is", (1, 8))
    lay_out_encoders(network)
    sweep("laid out", (1, 8))
    began_s = time.monotonic()
    works = compile_vision(network, side_px, (4, 16))
    note(part="encode", what="compile", works=works, seconds=time.monotonic() - began_s)
    sweep("compiled", (4, 16))
    if run.device == "cuda":
        _profile(partial(encode_images, network, normalise, [blank] * 16), "encode 16")


def _profile(work: Callable[[], object], name: str) -> None:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        work()
        torch.cuda.synchronize()
    kernels = [each for each in seen.key_averages() if each.self_device_time_total > 0]
    kernels.sort(key=lambda each: -each.self_device_time_total)
    total = sum(each.self_device_time_total for each in kernels)
    launches = sum(each.count for each in kernels)
    note(part="profile", of=name, total_us=total, launches=launches)
    for each in kernels[:14]:
        note(of=name, kernel=each.key[:90], us=each.self_device_time_total, times=each.count)


@torch.inference_mode()
def decode(run: Run) -> None:
    """Measure a step at several widths, recorded, without joining and leaving."""
    checkpoint = load_checkpoint(run.settings())
    decoder = Decoder(checkpoint.network)
    locations = checkpoint.token_table.location_ids
    for beams, count in ((beams, count) for beams in (3, 1) for count in (1, 16, 64, 128)):
        limits = StepShape(count, 1024, 1024)
        options = DecodingOptions(num_beams=beams)
        batch = DecodeBatch(decoder, options, limits, location_ids=locations)
        shape = StepShape(count, 64, 600).rounded(limits)
        batch.warm([shape])
        step = partial(batch.run_empty, shape)
        took_s = timed(run, step)
        note(part="decode", beams=beams, sequences=count, step_ms=1e3 * took_s,
             tokens_s=count / took_s)  # fmt: skip
        if run.device == "cuda" and count == 64:
            _profile(step, f"decode 64 x {beams}")


def serve(run: Run, *, sequences: int, group: int, count: int) -> None:
    """Caption different images, from their files on, as fast as one engine can."""
    settings = run.settings(batch_sequences_max=sequences, admit_sequences_max=group)
    checkpoint: Checkpoint = load_checkpoint(settings)
    engine = ContinuousEngine(checkpoint, settings)
    began_s = time.monotonic()
    engine.warm_up()
    note(part="serve", sequences=sequences, group=group, warm_up_s=time.monotonic() - began_s)
    files = [picture(number) for number in range(32)]
    options = DecodingOptions(max_new_tokens=16)
    began_s = time.monotonic()

    def prepare(number: int) -> Any:
        image = dataclasses.replace(engine.prepare(files[number % 32]), sha256=str(number))
        return task_request(str(number), TaskSpec(Task.CAPTION), image, options=options)

    with ThreadPoolExecutor(run.threads) as pool:
        prepared: Iterator[Any] = pool.map(prepare, range(count))
        done = flying = 0
        in_steps_s = 0.0
        while done < count:
            while flying < 2 * sequences and done + flying < count:
                engine.submit(next(prepared))
                flying += 1
            step_s = time.perf_counter()
            events = engine.step()
            in_steps_s += time.perf_counter() - step_s
            ended = sum(isinstance(event, SequenceFinished) for event in events)
            done, flying = done + ended, flying - ended
    seconds = time.monotonic() - began_s
    note(part="serve", sequences=sequences, group=group, captions_s=count / seconds,
         steps=engine.statistics().step_count, encoded=engine.statistics().encoded_image_count,
         failed=engine.statistics().failed_batch_count, in_steps_s=in_steps_s)  # fmt: skip
    engine.close()
    if run.device == "cuda":
        torch.cuda.empty_cache()


_PARTS: Final = {
    each.__name__: each for each in (machine, exactness, waits, encode, decode, full, lost)
}


def main() -> None:
    """Run the parts named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+")
    parser.add_argument("--model", default="base")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=14)
    parser.add_argument("--cache", type=Path, default=Path(".runs/models"))
    parser.add_argument("--count", type=int, default=1500)
    given = parser.parse_args()
    run = Run(
        find_model(given.model, given.cache), given.device, given.dtype, given.seconds,
        given.threads,
    )  # fmt: skip
    for part in given.parts:
        name, *sizes = part.split(":")
        if name == "serve":
            sequences, group = map(int, sizes)
            serve(run, sequences=sequences, group=group, count=given.count)
        else:
            _PARTS[name](run)


if __name__ == "__main__":
    main()
