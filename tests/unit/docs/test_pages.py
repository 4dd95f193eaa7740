"""What the pages name is there: files, headings, verbs, flags, targets of make."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from arno.cli.main import root

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*ROOT.glob("*.md"), ROOT / "services" / "README.md", *(ROOT / "docs").rglob("*.md")]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^[ \t]*|[`$(=] ?|&& )arno((?: [a-z]+(?=[\s`)|]|$))*)([^`\n#]*)", re.M)
FLAG = re.compile(r"(?<![\w-])(--?[a-z][a-z0-9-]*)")


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in LINK.findall(page.read_text()):
            if not target.startswith(("http:", "https:")):
                yield page, target


@pytest.mark.parametrize(
    ("page", "target"), [*links()], ids=lambda value: getattr(value, "name", value)
)
def test_link_leads_to_a_file_and_a_heading_that_are_there(page, target):
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    assert file.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
        assert anchor in map(slug, headings)


def test_page_of_the_package_has_no_link_that_leads_nowhere_in_an_index():
    page = ROOT / tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["readme"]
    assert page.is_file()
    assert not [one for one in LINK.findall(page.read_text()) if not one.startswith("https:")]


def commands() -> Iterator[tuple[str, list[str], list[str]]]:
    for page in PAGES:
        for words, rest in COMMAND.findall(page.read_text().replace("\\|", "|")):
            if words:
                yield page.name, words.split(), FLAG.findall(rest.split("|")[0])


@pytest.mark.parametrize(
    ("page", "words", "flags"),
    [*commands()],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_command_of_a_page_is_one_that_arno_knows(page, words, flags):
    command: click.Command = root
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"{page}: no verb {word}"
        command = found
    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    assert set(flags) <= known | {"--help", "-h", "--debug"}


def test_table_of_verbs_is_complete():
    page = (ROOT / "docs" / "cli.md").read_text()
    rows = set(re.findall(r"`arno ([a-z]+)", "".join(re.findall(r"^\| `arno.*$", page, re.M))))
    assert rows == set(root.list_commands(click.Context(root)))


def test_pages_that_the_code_names_are_there():
    sources = [*(ROOT / "services").rglob("*.py"), *(ROOT / "protos").rglob("*.proto")]
    named = {name for path in sources for name in re.findall(r"docs/[\w/-]+\.md", path.read_text())}
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_targets_of_make_that_pages_name_are_there():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)`", page.read_text())}
    assert named <= set(targets)


def test_each_decision_has_a_number_of_its_own():
    numbers = sorted(int(page.name[:4]) for page in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
