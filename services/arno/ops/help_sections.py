"""Print the flags of a verb under headings, so that long lists can be skimmed.

Stands alone: `ops/flags.py` makes flags of settings, and the verbs make their own; both name the
heading under which a flag stands.
"""

from __future__ import annotations

from typing import Any, Final

import click

_UNNAMED: Final = "Options"
_COLUMN_MAX: Final = 30
"""The widest column of flags that click makes; longer ones get a line of their own."""


class InSection(click.Option):
    """A flag that stands under a heading of its own in the help."""

    def __init__(self, *args: Any, section: str, **options: Any) -> None:
        """Take the heading, and what `click.Option` takes."""
        super().__init__(*args, **options)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists first the flags without a heading, then each heading."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags by heading; headings come in the order of their first flags."""
        sections: dict[str, list[tuple[str, str]]] = {_UNNAMED: []}
        for parameter in self.get_params(ctx):
            if not isinstance(parameter, click.Option):
                continue
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = parameter.section if isinstance(parameter, InSection) else _UNNAMED
                sections.setdefault(title, []).append(record)
        # One width for all headings, so that descriptions begin in one column.
        widest = max(len(flag) for records in sections.values() for flag, _ in records)
        width = min(widest, _COLUMN_MAX)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl([(flag.ljust(width), text) for flag, text in records])


class SectionedGroup(click.Group):
    """A group whose commands have sectioned help, listed with their whole summaries."""

    command_class = SectionedCommand

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help, however long it is."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, summary(command)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def summary(command: click.Command) -> str:
    """Return the first paragraph of a command's help, on one line."""
    return " ".join((command.help or "").partition("\n\n")[0].split())
