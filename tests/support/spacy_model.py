"""spaCy's small English model: a test tool, like a broker."""

from __future__ import annotations

import os

import pytest
from arno.dataset.text_analysis import TextAnalyser
from arno.errors import MissingExtraError


def spacy_analyser() -> TextAnalyser:
    """Return an analyser; without the model, skip the test, or fail it where CI is set."""
    try:
        return TextAnalyser("en_core_web_sm")
    except MissingExtraError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(error.message)
