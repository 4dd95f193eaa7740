"""The generator of the blocking client: what it changes, what it leaves, when it refuses."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "generate_sync.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_sync", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "NAMES", {"AsyncThing": "Thing"})
    monkeypatch.setattr(module, "PHRASES", {"It awaits.": "It blocks."})
    return module


def generated(script: ModuleType, body: str) -> str:
    return script.generate(f'class AsyncThing:\n    """It awaits."""\n\n{body}').partition("\n\n")[
        2
    ]


def test_async_and_await_go_and_layout_stays(script):
    body = (
        "    async def run(self, call):  # calls once\n"
        "        async with call as opened:\n"
        "            return [await opened.read(), (await opened.write()).size]\n"
    )
    assert generated(script, body) == (
        "    def run(self, call):  # calls once\n"
        "        with call as opened:\n"
        "            return [opened.read(), (opened.write()).size]\n"
    )


def test_words_in_texts_and_comments_and_parts_of_names_stay(script):
    body = (
        "    # An async caller may await this.\n"
        '    note = "await the async end"\n'
        "    awaited = asynchronous = AsyncThingLike = None\n"
    )
    assert generated(script, body) == body


def test_names_and_phrases_are_replaced(script):
    assert script.generate('class AsyncThing:\n    """It awaits."""\n') == (
        'class Thing:\n    """It blocks."""\n'
    )


def test_entry_of_a_table_that_is_nowhere_in_the_source_is_refused(script):
    with pytest.raises(ValueError, match=r"It awaits\."):
        script.generate("class AsyncThing:\n    pass\n")


def test_generated_client_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate_sync", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.generate(module.WRITTEN.read_text()) == module.GENERATED.read_text()
