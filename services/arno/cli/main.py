"""The command's root: the list of verbs, and what becomes of an error.

Verbs are imported when they are used, so that `arno --help` is quick and needs no extra.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import io
import sys
import traceback
from typing import Final, NoReturn

import click

from arno import __version__
from arno.errors import (
    ArnoError,
    ConfigurationError,
    InvalidRequestError,
    MissingExtraError,
    ModelError,
)

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
_TOLD_BY_THEMSELVES: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Faults of a file that is open: its name is no longer known, and the sentence says enough."""

# In the order in which a new user meets them.
_VERBS: Final[dict[str, str]] = {
    "up": "Run everything on this machine: store, gateway, worker.",
    "infer": "Ask about images; print a table, JSON or annotated pictures.",
    "job": "Hand in work now and fetch it later.",
    "stream": "Run a video, a network stream or a camera through the model.",
    "demo": "Start everything, try the examples, compare with the truth.",
    "eval": "Say how good a model is, task by task, on data whose answers are known.",
    "doctor": "Say what is installed, reachable and wrong.",
    "train": "Teach a model from samples, whole or by LoRA.",
    "model": "Look at a checkpoint, convert it, check it, or make a random one.",
    "gateway": "Run the gRPC server.",
    "worker": "Run the model on jobs.",
    "topics": "Create or list the bus's topics.",
    "keys": "Make, list and revoke API keys; set quotas of tenants.",
    "dead": "Look at jobs that were given up; run them again.",
    "version": "Print the versions.",
}


class _Verbs(click.Group):
    """Knows the verbs' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_VERBS, *(name for name in super().list_commands(ctx) if name not in _VERBS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return super().get_command(ctx, cmd_name)
        try:
            verb: click.Command = importlib.import_module(f"arno.cli.{cmd_name}").verb
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, error) from error
        return verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], _VERBS, n=1)
            if not close:
                raise
            sentence = f"{error.message} Did you mean {close[0]}?"
            raise click.UsageError(sentence, ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error; may stand anywhere.")
@click.version_option(__version__, prog_name="arno")
def root(debug: bool) -> None:
    """Serve Florence-2: captions, detection, grounding, segmentation and OCR, over gRPC.

    \b
    Try it:
      arno up                        in one terminal, and in another
      arno infer photo.jpg --task OD --draw seen.png
    """


def main() -> NoReturn:
    """Run the command; an error is one red sentence on stderr and an exit code.

    Exit codes: 0 all is well, 1 something failed, 2 the command or its input is wrong.
    """
    _print_any_name()
    # Wherever it stands: whoever adds it has just seen a verb fail.
    debug = "--debug" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--debug"]
    verb = words[0] if words else ""
    try:
        code = root.main(words, standalone_mode=False, prog_name="arno")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except (ArnoError, ModuleNotFoundError, OSError, ValueError) as error:
        if debug:
            traceback.print_exc()
        told = _told(error, verb)
        show_error(told)
        sys.exit(exit_code(told))
    sys.exit(code if isinstance(code, int) else 0)


def _print_any_name() -> None:
    """Let files have names that are no UTF-8: JSON and Python write such bytes as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show_error(error: ArnoError, *, about: str = "") -> None:
    """Write an error to stderr: one red sentence, and which image it is about."""
    sentence = f"{about}: {error.message}" if about else error.message
    click.secho(f"error: {sentence}", fg="red", err=True)


def exit_code(error: ArnoError) -> int:
    """Return 2 where the caller can mend it by asking differently, else 1."""
    mendable = isinstance(error, InvalidRequestError | ConfigurationError | ModelError)
    return EXIT_USAGE if mendable else EXIT_FAILURE


def _told(error: ArnoError | ModuleNotFoundError | OSError | ValueError, verb: str) -> ArnoError:
    """Return an error as a person is told about it; raise one that only a developer can read."""
    if isinstance(error, ArnoError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return _missing(verb, error)
    if isinstance(error, ValueError):
        return _setting_fault(error)
    if error.filename is not None:
        return ArnoError(f"{error.filename}: {error.strerror}")
    if error.errno in _TOLD_BY_THEMSELVES:
        return ArnoError(str(error.strerror))
    raise error


def _setting_fault(error: ValueError) -> ArnoError:
    """Return what a model of settings says of its fields; raise any other error."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        raise error
    # What was sent is left out: it may be a secret.
    faults = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return ConfigurationError("; ".join(faults))


def _missing(verb: str, error: ModuleNotFoundError) -> ArnoError:
    name = (error.name or "").partition(".")[0]
    if name == "arno":
        # A part of Arno itself that is not there is a broken installation, not a missing extra.
        return MissingExtraError(f"arno is not installed completely: no module {error.name}")
    extra = {
        "worker": "worker",
        "gateway": "gateway",
        "topics": "server",
        "dead": "server",
        "stream": "ingest",
        "model": "worker",
        "eval": "train",
        "train": "train",
    }.get(verb, "all")
    return MissingExtraError(
        f"`arno {verb}` needs {name}, which is not installed: pip install 'arno[{extra}]'",
        extra=extra,
        module=name,
    )
