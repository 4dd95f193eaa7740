"""Write the trained model as a folder that Arno and transformers load, with its provenance."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from arno import __version__
from arno.engine.checkpoints.folders import find_model
from arno.engine.checkpoints.write import image_token_count
from arno.training.origin import processor_name, source_commit
from arno.training.trainer.checkpoint import Progress
from arno.training.trainer.log import Log
from arno.training.trainer.model import TrainableModel
from arno.training.trainer.settings import TrainSettings

_COPIED: Final = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
"""Files that training does not change."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from: enough to make it again.

    Attributes:
        base: Name of the model that training started from.
        base_fingerprint: Fingerprint of that model's files.
        data: Name of the data.
        data_digest: Digest of the data's content.
        sample_count: Number of samples in the data.
        bad_sample_count: Number of broken samples skipped.
        settings: All settings of the run.
        steps: Number of steps done.
        loss: Loss of the last step.
        commit: Commit of Arno's source; empty if unknown.
        hardware: Device, processor and number of processes, in words.
        trained_s: Seconds of training.
        arno_version: Version of Arno.
        torch_version: Version of torch.
    """

    base: str
    base_fingerprint: str
    data: str
    data_digest: str
    sample_count: int
    bad_sample_count: int
    settings: dict[str, Any]
    steps: int
    loss: float
    commit: str
    hardware: str
    trained_s: float
    arno_version: str = __version__
    torch_version: str = str(torch.__version__)


@dataclass(frozen=True, slots=True)
class LearnedFrom:
    """What a run has learned from.

    Attributes:
        data_digest: Digest of the data's content.
        sample_count: Number of samples in the data.
        base_fingerprint: Fingerprint of the model that it started from.
    """

    data_digest: str
    sample_count: int
    base_fingerprint: str


def provenance(
    settings: TrainSettings, progress: Progress, learned: LearnedFrom, device: str
) -> Provenance:
    """Return where the model of a finished run comes from; `device` is its hardware in words."""
    log = Log(settings.out, progress.step)
    return Provenance(
        base=settings.model,
        base_fingerprint=learned.base_fingerprint,
        data=settings.data,
        data_digest=learned.data_digest,
        sample_count=learned.sample_count,
        bad_sample_count=len(progress.errors),
        settings=settings.model_dump(mode="json"),
        steps=progress.step,
        loss=log.steps[-1].loss if log.steps else float("nan"),
        commit=source_commit() or "",
        hardware=device,
        trained_s=progress.trained_s,
    )


def write_model(model: TrainableModel, settings: TrainSettings, origin: Provenance) -> Path:
    """Write `OUT/model`, and `OUT/adapter` for LoRA; return the folder of the model.

    The weights of `model` are merged and converted: it cannot be trained after that.
    """
    network = model.network
    if model.lora:
        adapter = settings.out / "adapter"
        # No embedding is trained; peft would look for the base model on the hub to find that out.
        network.save_pretrained(adapter, save_embedding_layers=False)
        describe(adapter, origin, f"LoRA of rank {settings.lora_rank} for {settings.model}")
        network = network.merge_and_unload()
    base = find_model(settings.model)
    network.train(mode=False)
    with model_folder(settings) as folder:
        network.to(_dtype(settings, base)).save_pretrained(folder)
        for pattern in _COPIED:
            for path in base.glob(pattern):
                shutil.copy(path, folder / path.name)
        if settings.image_px:
            _resize_images(folder, model)
        describe(folder, origin, f"{settings.model}, fine-tuned")
    return settings.out / "model"


@contextmanager
def model_folder(settings: TrainSettings) -> Iterator[Path]:
    """Yield a new folder, which becomes `OUT/model` when the block has ended."""
    partial, folder = settings.out / "model.part", settings.out / "model"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _resize_images(folder: Path, model: TrainableModel) -> None:
    """Have the processors of a model's folder make images of the size that it was trained with."""
    side_px = model.checkpoint.recipe.side_px
    square = {"height": side_px, "width": side_px}
    count = image_token_count(model.checkpoint.network.config, side_px)
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        fields = json.loads(path.read_text(encoding="utf-8"))
        images = fields.get("image_processor", fields if name.startswith("pre") else None)
        if images is None:
            continue
        images |= {"size": square, "crop_size": square, "image_seq_length": count}
        path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def hardware(device: torch.device, processes: int) -> str:
    """Return the hardware of a run in words."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
    return f"{processes} x {name}, {platform.system()} {platform.machine()}"


def _cpu() -> str:
    return f"{processor_name()} ({torch.get_num_threads()} threads)"


def _dtype(settings: TrainSettings, base: Path) -> torch.dtype:
    name = settings.save_dtype
    if name == "auto":
        config = json.loads((base / "config.json").read_text())
        name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def describe(folder: Path, origin: Provenance, title: str) -> None:
    """Write `training.json` and `README.md` into the folder of a model."""
    facts = asdict(origin)
    (folder / "training.json").write_text(json.dumps(facts, indent=2, default=str) + "\n")
    rows = {
        "Started from": f"{origin.base} ({origin.base_fingerprint[:12]})",
        "Data": f"`{origin.data}` ({origin.data_digest[:12]}), "
        f"{origin.sample_count} samples, {origin.bad_sample_count} broken",
        "Steps": f"{origin.steps} of {origin.settings['batch']} samples, "
        f"last loss {origin.loss:.4f}",
        "Seed": origin.settings["seed"],
        "Commit": origin.commit or f"arno {origin.arno_version}",
        "Hardware": origin.hardware,
        "Time": f"{origin.trained_s / 60:.1f} minutes",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    (folder / "README.md").write_text(
        f"# {title}\n\nMade by `arno train`; `training.json` has every setting.\n\n"
        f"| | |\n| --- | --- |\n{table}"
    )
