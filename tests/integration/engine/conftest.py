"""A random-weights model on disk, an engine over it, and transformers' own `generate` beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from arno.engine import EngineSettings
from arno.engine.checkpoints import Checkpoint, load_checkpoint
from arno.engine.continuous_engine import ContinuousEngine
from arno.engine.decoding.launchers import EagerLauncher
from support.clock import ManualClock
from support.engine_runs import Reference
from support.random_florence import build_random_florence


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests share the cores; a model this small is fastest on one thread, and then repeatable."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_random_florence(tmp_path_factory.mktemp("random-florence"))


@pytest.fixture(scope="session")
def short_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two stages of vision: each takes seconds to compile, the others are alike."""
    return build_random_florence(tmp_path_factory.mktemp("two-stages"), stages=2)


@pytest.fixture(scope="session")
def checkpoint(model_folder: Path) -> Checkpoint:
    return load_checkpoint(EngineSettings(model=str(model_folder), device="cpu", dtype="float32"))


@pytest.fixture(scope="session")
def reference(model_folder: Path) -> Reference:
    return Reference(model_folder)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_engine(checkpoint: Checkpoint, clock: ManualClock) -> Callable[..., ContinuousEngine]:
    def make(*, few_shapes: bool = False, **changes: object) -> ContinuousEngine:
        facts = {"model": checkpoint.card.name, "device": "cpu", "encode_overlap": "off"} | changes
        return ContinuousEngine(
            checkpoint,
            EngineSettings.model_validate(facts),
            clock,
            make_launcher=partial(EagerLauncher, few_shapes=few_shapes),
        )

    return make


@pytest.fixture
def engine(make_engine: Callable[..., ContinuousEngine]) -> ContinuousEngine:
    return make_engine()
