"""The annotators of `arno annotate --annotator`, by their names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from arno.data_engine.annotators.annotator import Annotator, FunctionAnnotator
from arno.errors import InvalidFieldError

NAMED: Final = (
    "detector:FOLDER, captioner:FOLDER, similarity:FOLDER, tesseract[:LANGUAGE], "
    "chat:URL,model=NAME[,granularity=brief], or python:MODULE:FUNCTION, with NAME= before it "
    "where two are alike"
)
_CHAT_PARALLEL: Final = 8
_KINDS: Final = ("detector", "captioner", "similarity", "tesseract", "chat", "python")


def open_annotator(written: str) -> Annotator:
    """Return the annotator of a name such as ``ocr=tesseract:deu``.

    Raises:
        InvalidFieldError: There is no annotator of that name.
        ArnoError: It cannot be used: a model that is not there, a program that is not installed.
    """
    name, equals, what = written.partition("=")
    if not equals or ":" in name:  # chat:URL,model=NAME has one too
        name, what = "", written
    kind, _, subject = what.partition(":")
    if kind not in _KINDS or not (subject or kind == "tesseract"):
        raise InvalidFieldError(field="--annotator", problem="unknown", limit=NAMED, sent=written)
    if kind == "python":
        return FunctionAnnotator(_function(subject, written), name=name or subject)
    return _model(kind, subject, name or kind, written)


def _model(kind: str, subject: str, name: str, written: str) -> Annotator:
    if kind == "similarity":
        from arno.data_engine.annotators.similarity import Similarity, SimilarityScorer

        return SimilarityScorer(Similarity(subject), name=name)
    if kind == "chat":
        from arno.data_engine.annotators.chat import ChatAnnotator

        address, options = _options(subject, written)
        chat = ChatAnnotator(address, options.pop("model"), **options)
        return FunctionAnnotator(chat, name=name, model=chat.fingerprint, parallel=_CHAT_PARALLEL)
    if kind == "captioner":
        from arno.data_engine.annotators.captioner import Captioner

        captioner = Captioner(subject)
        return FunctionAnnotator(captioner, name=name, model=captioner.fingerprint)
    if kind == "tesseract":
        from arno.data_engine.annotators.tesseract import Tesseract

        tesseract = Tesseract(subject)
        return FunctionAnnotator(tesseract, name=name, model=tesseract.fingerprint)
    from arno.data_engine.annotators.detector import Detector

    detector = Detector(subject)
    return FunctionAnnotator(detector, name=name, model=detector.fingerprint)


def _options(subject: str, written: str) -> tuple[str, dict[str, str]]:
    address, *parts = subject.split(",")
    options = dict(part.partition("=")[::2] for part in parts)
    if not options.get("model") or not options.keys() <= {"model", "granularity", "question"}:
        problem = "needs a model, and takes granularity and question"
        raise InvalidFieldError(field="--annotator", problem=problem, limit=NAMED, sent=written)
    return address, options


def _function(subject: str, written: str) -> Callable[..., Any]:
    module, _, function = subject.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # the user's own modules, as `python -m` finds them
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidFieldError(
            field="--annotator", problem=f"cannot be imported: {error}", limit=NAMED, sent=written
        ) from error
    return found
