"""The tokenizer of a checkpoint, as processes that load samples get it."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

from arno.engine.checkpoints.folders import find_model_folders
from arno.engine.checkpoints.tokenizer import load_tokenizer


def test_a_copy_in_another_process_reads_prompts_alike() -> None:
    tokenizer = load_tokenizer(find_model_folders("tiny").base)
    ids = tokenizer.encode("Locate the objects with category name in the image.")
    copy = ForkingPickler.loads(ForkingPickler.dumps(tokenizer))
    assert copy.encode("Locate the objects with category name in the image.") == ids
