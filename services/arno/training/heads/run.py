"""Train a head from settings to a folder: what `arno train --head` runs in each process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.console import Console

from arno.engine.heads.description import HeadKind
from arno.engine.heads.load import write_head
from arno.errors import ConfigurationError
from arno.training.heads.batches import HeadBatch, HeadBatches
from arno.training.heads.judging import judge
from arno.training.heads.model import TrainableHead, build_trainable_head
from arno.training.heads.objective import HeadObjective
from arno.training.heads.open_truth import open_truth
from arno.training.heads.truth import TruthSource
from arno.training.trainer.export import LearnedFrom, Provenance, describe, model_folder
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings
from arno.training.trainer.train import Plan, train
from arno.training.world import Split

_SHOWN: Final = ("box_map", "mask_map", "miou")
_DECIDING: Final = (
    "head",
    "seed",
    "batch",
    "weight_decay",
    "gradient_norm_max",
    "vision_stages",
    "vision_random",
    "vision_rate",
    "region_samples",
    "flip",
    "precision",
)
"""Settings that decide the weights of each step, beside the head's description."""


def train_head(settings: TrainSettings, group: ProcessGroup, console: Console) -> bool:
    """Train, or resume the run in the folder; return False where a signal stopped it.

    Raises:
        ArnoError: Model, data or settings cannot be used, or too many images are broken.
    """
    return train(settings, group, console, _plan)


def _plan(settings: TrainSettings, group: ProcessGroup) -> Plan[HeadBatch]:
    source = open_truth(HeadKind(settings.head), settings.data, split=Split.TRAIN)
    head = build_trainable_head(settings, source, group)
    described = head.description

    def write(origin: Provenance) -> str:
        folder = _write(head, settings, origin)
        return f"the head is in {folder}: arno.load({str(folder)!r})"

    return Plan(
        learner=head,
        learned=LearnedFrom(source.digest, len(source), head.base_fingerprint),
        objective=HeadObjective(head, settings),
        batches=HeadBatches(source, described.recipe, group, settings),
        evaluator=_validation(settings, head, group),
        identity={
            "image_px": described.recipe.side_px,
            "head_width": described.width,
            "anchor_px": described.anchor_px,
            **{name: getattr(settings, name) for name in _DECIDING},
        },
        shown=_SHOWN,
        write=write,
    )


def _validation(
    settings: TrainSettings, head: TrainableHead, group: ProcessGroup
) -> HeadValidation | None:
    if not settings.validation:
        return None
    kind = HeadKind(settings.head)
    source = open_truth(kind, settings.validation, split=Split.VALIDATION)
    if source.categories != head.description.categories:
        raise ConfigurationError(
            f"validation: its categories ({', '.join(source.categories)}) are not those of the "
            f"training data ({', '.join(head.description.categories)})"
        )
    return HeadValidation(source, head, group, settings)


class HeadValidation:
    """Mean average precision or mean IoU on data that is never trained on."""

    changes_data = False

    def __init__(
        self,
        source: TruthSource,
        head: TrainableHead,
        group: ProcessGroup,
        settings: TrainSettings,
    ) -> None:
        """Deal the images of `source` to all processes."""
        self.every_steps = settings.checkpoint_steps
        self._source, self._head, self._group = source, head, group

    def measure(self) -> dict[str, float]:
        """Return the figures of all images together."""
        network = self._head.network
        modes = [(module, module.training) for module in network.modules()]
        network.train(mode=False)
        numbers = self._group.share(range(len(self._source)))
        tally = judge(network, self._head.description, self._source, numbers)
        for module, training in modes:
            module.training = training
        first, *others = self._group.all_gather(tally)
        for other in others:
            first.merge(other)
        return first.judgement().figures


def _write(head: TrainableHead, settings: TrainSettings, origin: Provenance) -> Path:
    """Write `OUT/model`; return the folder."""
    title = f"A {settings.head} head on the vision encoder of {settings.model}"
    with model_folder(settings) as folder:
        write_head(folder, head.description, head.network.state_dict())
        describe(folder, origin, title)
    return settings.out / "model"
