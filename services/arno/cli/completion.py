"""`arno completion`: completion of verbs and flags for shells."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from arno.cli.main import root
from arno.cli.terminal import echo
from arno.ops.help_sections import SectionedCommand

_VARIABLE: Final = "_ARNO_COMPLETE"
"""The shell's function calls `arno` with it; click makes the name of the program's."""

_SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion", cls=SectionedCommand)
@click.argument("shell", type=click.Choice(_SHELLS))
def verb(shell: str) -> None:
    """Print the completion of verbs and flags for a shell.

    \b
    Examples:
      arno completion bash > ~/.local/share/bash-completion/completions/arno
      arno completion zsh > "${fpath[1]}/_arno"
      arno completion fish > ~/.config/fish/completions/arno.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    echo(kind(root, {}, "arno", _VARIABLE).source())
