"""`arno train`: teach a model from samples."""

from __future__ import annotations

import os
from typing import Final

import click

from arno.cli.servers import KNOWN_SETTINGS
from arno.cli.terminal import SafeConsole
from arno.errors import MissingExtraError
from arno.ops.flags import settings_options
from arno.ops.help_sections import SectionedCommand
from arno.training.trainer.settings import TrainSettings

_STOPPED: Final = 130


@click.command("train", cls=SectionedCommand)
@settings_options(TrainSettings, process="train", known_elsewhere=KNOWN_SETTINGS)
def verb(settings: TrainSettings) -> int:
    """Fine-tune a Florence-2 on your own samples, whole or by LoRA, or a head on its encoder.

    OUT/model is served by `arno up --model OUT/model`. The same command resumes a run that was
    stopped or killed, from its last checkpoint. docs/training.md describes the data. Settings come
    from flags, then ARNO_* variables, then the file, then defaults.

    \b
    Examples:
      arno train --data boxes.jsonl --out runs/boxes --lora-rank 16
      arno train --data coco:instances.json,images=photos --out runs/coco \\
          --model ./Florence-2-base --epochs 5 --micro-batch 2
      arno train --head detection --preset paper-heads --out runs/masks \\
          --data coco:instances.json,images=photos --model ./Florence-2-base
      torchrun --nproc-per-node 4 -m arno.cli train --data boxes.jsonl --out runs/boxes
    """
    extra = "train" if settings.head == "none" else "heads,train"
    try:
        from arno.training.trainer.process_group import ProcessGroup

        if settings.head == "none":
            from arno.training.trainer.fine_tune import fine_tune as train
        else:
            from arno.training.heads.run import train_head as train
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"training needs {error.name}: pip install 'arno[{extra}]'", extra=extra
        ) from error
    group = ProcessGroup.of(os.environ)
    finished = train(settings, group, SafeConsole(stderr=True, quiet=not group.leads))
    return 0 if finished else _STOPPED
