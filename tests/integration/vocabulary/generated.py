"""Seeded answers of every task: well-formed, cut anywhere, repeated, and with odd counts.

What they leave out are the inputs of `test_parsing_differences.py`, where the two readings differ.
"""

from collections.abc import Callable
from random import Random

from arno.vocabulary import CATALOGUE, AnswerKind, Task

LABELS = (
    "car",
    " a red  car ",
    "it",
    "the image",
    "person, left",
    "caf\u00e9",
    "\u81ea\u8eca",
    "A.",
    "x > y",
)
OCR_LABELS = (*LABELS, "a<b", "50% off!", "<<")
BOX_COUNTS = (4, 4, 4, 4, 8, 12, 5, 7)
PROPOSAL_COUNTS = (*BOX_COUNTS, 1, 2, 3)
POINT_COUNTS = (6, 6, 8, 20, 7, 5, 4)
ENDS = ("", "", "<s>", "</s>", "<pad>")


def answer(task: Task, random: Random) -> str:
    """Return one generated answer as text, begin and end included."""
    body = _BODIES.get(task, _BY_KIND.get(CATALOGUE[task].answer_kind, _text))(random)
    return f"</s><s>{body}</s>"


def cuts_freely(task: Task) -> bool:
    """Whether an answer of the task reads the same wherever it is cut."""
    return CATALOGUE[task].answer_kind is not AnswerKind.TEXT


def places(random: Random, count: int) -> str:
    """Return locations; begin, end and padding between them do not count."""
    return "".join(
        f"<loc_{random.choice((0, 999, random.randrange(1000)))}>"
        + (random.choice(ENDS) if random.random() < 0.05 else "")
        for _ in range(count)
    )


def _boxes(random: Random) -> str:
    items = [
        random.choice(LABELS) + places(random, random.choice(BOX_COUNTS))
        for _ in range(random.randrange(6))
    ]
    return "".join(items * random.choice((1, 1, 3)))


def _proposals(random: Random) -> str:
    return random.choice(("", "car")).join(
        places(random, random.choice(PROPOSAL_COUNTS)) for _ in range(random.randrange(5))
    )


def _quads(random: Random) -> str:
    return "".join(
        random.choice(OCR_LABELS) + places(random, 8) for _ in range(random.randrange(5))
    )


def _outlines(random: Random) -> str:
    return "<sep>".join(
        places(random, random.choice(POINT_COUNTS)) for _ in range(random.randrange(1, 4))
    )


def _masks(random: Random) -> str:
    if random.random() < 0.5:
        return _outlines(random)
    return f"<poly>{_outlines(random)}</poly>"


def _open(random: Random) -> str:
    if random.random() < 0.5:
        return _boxes(random)
    return "".join(
        random.choice(LABELS) + f"<poly>{_outlines(random)}</poly>"
        for _ in range(random.randrange(1, 4))
    )


def _text(random: Random) -> str:
    words = " ".join(random.choice(OCR_LABELS) for _ in range(random.randrange(8)))
    return words + random.choice(("", "\n", " <and> ", "<cap>"))


_BODIES: dict[Task, Callable[[Random], str]] = {
    Task.REGION_PROPOSAL: _proposals,
    Task.OPEN_VOCABULARY_DETECTION: _open,
}
_BY_KIND: dict[AnswerKind, Callable[[Random], str]] = {
    AnswerKind.DETECTION: _boxes,
    AnswerKind.GROUNDING: _boxes,
    AnswerKind.OCR: _quads,
    AnswerKind.SEGMENTATION: _masks,
}
