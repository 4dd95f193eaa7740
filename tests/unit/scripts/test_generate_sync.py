"""The generator of the blocking client: what it changes, what it leaves, when it refuses."""

from __future__ import annotations

from types import ModuleType

import generate_sync
import pytest


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(generate_sync, "NAMES", {"AsyncThing": "Thing"})
    monkeypatch.setattr(generate_sync, "PHRASES", {"It awaits.": "It blocks."})
    return generate_sync


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
    assert generate_sync.generated() == {
        generate_sync.GENERATED: generate_sync.GENERATED.read_text()
    }
