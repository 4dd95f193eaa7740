"""Go from round to round until nothing gets better, and keep the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console

from arno.data_engine.refinement.report import write_reports
from arno.data_engine.refinement.rounds import (
    Materials,
    OnProgress,
    begin,
    tasks_of,
    train_and_annotate,
)
from arno.data_engine.refinement.settings import RefineSettings
from arno.data_engine.refinement.state import Round, State, load_state, save_state
from arno.dataset import Dataset
from arno.training.trainer.checkpoint import CHECKPOINT_FILE

BEST: Final = "best"


def refine(
    settings: RefineSettings,
    console: Console,
    *,
    nouns: Mapping[str, str] | None = None,
    on_progress: OnProgress = lambda step, done, total: None,
) -> State | None:
    """Do the rounds that are left; return None where a signal has stopped the training of one.

    Args:
        settings: Of the run. A run in its folder is gone on with: what is done is not done again.
        console: Shows the progress of training.
        nouns: Words that name objects in texts, to the object's name; None are the category labels
            of the truth.
        on_progress: Called with the name of a step, and how much of how much of it is done.

    Raises:
        ConfigurationError: The folder holds a run with other settings or other data.
        ArnoError: Model or data cannot be used.
    """
    labels = Dataset(Path(settings.data))
    settings.out.mkdir(parents=True, exist_ok=True)
    identity = {**settings.identity(), "digest": labels.digest}
    state = load_state(settings.out, identity)
    truth = Dataset(Path(settings.truth)) if settings.truth else None
    materials = Materials(settings, labels, truth, tasks_of(settings, labels), nouns, on_progress)
    if not state.rounds:
        _add(materials, state, begin(materials))
    while not (ended := why_ended(state, settings)):
        done = train_and_annotate(materials, len(state.rounds), console)
        if done is None:
            return None
        _add(materials, state, done)
    state.ended = ended
    save_state(settings.out, state)
    # A kill may have come between the state and these.
    _point_to_best(settings.out, state)
    write_reports(materials, state)
    return state


def why_ended(state: State, settings: RefineSettings) -> str:
    """Return why there is no further round; empty where there is one."""
    last, before = state.rounds[-1], State({}, state.rounds[:-1]).best
    if before is not None and (last.held_out or 0) <= (before.held_out or 0) + settings.gain_min:
        return f"round {last.number} is no better on held-out data"
    return f"{settings.rounds} rounds are done" if last.number >= settings.rounds else ""


def _add(materials: Materials, state: State, done: Round) -> None:
    out = materials.settings.out
    state.ended = ""
    state.rounds.append(done)
    save_state(out, state)
    # The state of the optimiser was for going on with a training that has ended.
    (materials.folder(done.number) / "train" / CHECKPOINT_FILE).unlink(missing_ok=True)
    _point_to_best(out, state)
    write_reports(materials, state)


def _point_to_best(out: Path, state: State) -> None:
    """Make OUT/best a link to the folder of the best round."""
    if state.best is None:
        return
    link, unfinished = out / BEST, out / f"{BEST}.tmp"
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(f"round-{state.best.number}")
    unfinished.replace(link)
