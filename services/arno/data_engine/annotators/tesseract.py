"""Tesseract as an annotator: lines of printed text with their places, by the program itself.

Stands alone: it alone runs a program.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Final

from PIL.Image import Image

from arno.data_engine.annotators.annotator import Finding
from arno.dataset.records import RegionKind
from arno.errors import ConfigurationError, EngineError

_PROGRAM: Final = "tesseract"
_LANGUAGE: Final = "eng"
_WORD_LEVEL: Final = "5"
_PERCENT: Final = 100.0
_TIMEOUT_S: Final = 120.0


class Tesseract:
    """Finds lines of text; a line's score is the mean confidence of its words."""

    def __init__(self, language: str = "", *, score_min: float = 0.3) -> None:
        """Find the program.

        Args:
            language: As Tesseract names it: ``eng``, ``deu+fra``; empty is English.
            score_min: Words whose confidence is below are left out.

        Raises:
            ConfigurationError: The program or the language is not installed.
        """
        program = shutil.which(_PROGRAM)
        if program is None:
            raise ConfigurationError(
                "the annotator tesseract needs the program: apt-get install tesseract-ocr"
            )
        self._program, self._language = program, language or _LANGUAGE
        self._score_min = score_min
        known = self._run("--list-langs").split()
        missing = [one for one in self._language.split("+") if one not in known]
        if missing:
            raise ConfigurationError(
                f"tesseract does not know the language {missing[0]}; "
                f"apt-get install tesseract-ocr-{missing[0]}"
            )
        self.fingerprint = f"{self._run('--version').splitlines()[0]} {self._language}"

    def __call__(self, image: Image) -> Iterator[Finding]:
        """Yield the lines of an image, from top to bottom as the program reads them."""
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
        said = self._run("stdin", "stdout", "-l", self._language, "tsv", content=file.getvalue())
        lines: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
        rows = csv.DictReader(io.StringIO(said), delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in rows:
            sure = row["level"] == _WORD_LEVEL and float(row["conf"]) / _PERCENT
            if sure and sure >= self._score_min and row["text"].strip():
                key = (row["block_num"], row["par_num"], row["line_num"])
                lines.setdefault(key, []).append(row)
        for words in lines.values():
            yield _line(words)

    def _run(self, *words: str, content: bytes | None = None) -> str:
        command = [self._program, *words]
        try:
            done = subprocess.run(
                command, input=content, capture_output=True, check=True, timeout=_TIMEOUT_S
            )
        except (subprocess.SubprocessError, OSError) as error:
            told = getattr(error, "stderr", None) or b""
            problem = told.decode(errors="replace").strip() or str(error)
            raise EngineError(f"tesseract: {problem}") from error
        return done.stdout.decode(errors="replace")


def _line(words: list[Mapping[str, str]]) -> Finding:
    x0 = min(float(word["left"]) for word in words)
    y0 = min(float(word["top"]) for word in words)
    x1 = max(float(word["left"]) + float(word["width"]) for word in words)
    y1 = max(float(word["top"]) + float(word["height"]) for word in words)
    return {
        "quad_box": (x0, y0, x1, y0, x1, y1, x0, y1),
        "kind": RegionKind.OCR,
        "text": " ".join(word["text"].strip() for word in words),
        "score": fmean(float(word["conf"]) for word in words) / _PERCENT,
    }
