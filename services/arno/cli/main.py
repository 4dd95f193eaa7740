"""The root of the command line: its verbs, and how errors become sentences and exit codes.

Verbs are imported when they are used, so that `arno --help` is quick and needs no extra.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import importlib.metadata
import io
import json
import os
import platform
import sys
import traceback
from typing import Final, NoReturn

import click
from click.shell_completion import CompletionItem

from arno import __version__
from arno.errors import (
    ArnoError,
    ConfigurationError,
    InvalidFieldError,
    InvalidRequestError,
    MissingExtraError,
    ModelError,
)
from arno.ops.help_sections import SectionedCommand
from arno.ops.printable import printable

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of an open file: its name is no longer known, and the sentence is clear without it."""

_REPORTED_PARTS: Final = (
    "grpcio",
    "protobuf",
    "kafka-python",
    "redis",
    "torch",
    "transformers",
    "av",
)

_VERB_GROUPS: Final[dict[str, dict[str, str]]] = {
    "Start": {
        "up": "Run a store, a gateway, a worker and a web page on this machine.",
        "demo": "Start everything, run the example images, check the answers.",
        "doctor": "Check what is installed, what is reachable and what is wrong.",
    },
    "Ask a running Arno": {
        "infer": "Run tasks on images; print a table, JSON or annotated pictures.",
        "batch": "Run tasks on many images and keep the answers in a folder.",
        "export": "Convert the answers of a batch to COCO, YOLO and other formats.",
        "job": "Submit work now and fetch the results later.",
        "stream": "Run tasks on a video, a network stream or a camera.",
    },
    "Models": {
        "model": "Inspect, convert, verify or compile checkpoints.",
        "train": "Fine-tune a model on your samples, all weights or by LoRA.",
        "eval": "Measure a model, task by task, on data with known answers.",
    },
    "Data sets": {
        "annotate": "Annotate many images and write the annotations as a data set.",
        "dataset": "Import, check, filter, merge, measure and export data sets.",
        "refine": "Train on a data set and annotate it again, in rounds.",
    },
    "Servers": {
        "gateway": "Run the gRPC server.",
        "worker": "Run the model on jobs.",
        "web": "Serve a page, HTTP/JSON and an OpenAI-compatible API.",
        "mcp": "Serve vision tools to agents over the Model Context Protocol.",
        "ingest": "Run tasks on Kafka topics, videos and cameras, as a service.",
        "notify": "Send events of finished jobs to webhooks and Kafka topics.",
    },
    "Operation": {
        "top": "Show lanes, gateways and workers, live.",
        "topics": "Create or list the topics of the bus.",
        "keys": "Create, list and revoke API keys; set quotas of tenants.",
        "dead": "Inspect dead jobs and run them again.",
        "completion": "Print the completion of verbs and flags for a shell.",
        "version": "Print the versions of Arno and of its parts.",
    },
}
"""The verbs with their summaries, under the headings of `arno --help`."""

_VERBS: Final = {
    verb: summary for group in _VERB_GROUPS.values() for verb, summary in group.items()
}

_SHARED_MODULES: Final = {
    "gateway": "servers",
    "worker": "servers",
    "ingest": "servers",
    "notify": "servers",
}
"""Modules that hold several verbs, each under its own name; other modules hold one, as `verb`."""


class _Verbs(click.Group):
    """Lists the verbs with their summaries, and imports a verb when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _VERBS:
            return own
        shared = _SHARED_MODULES.get(cmd_name)
        try:
            module = importlib.import_module(f"arno.cli.{shared or cmd_name}")
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, error) from error
        verb: click.Command = getattr(module, cmd_name if shared else "verb")
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of verbs without importing them: some need an extra."""
        verbs = [
            CompletionItem(name, help=summary)
            for name, summary in _VERBS.items()
            if name.startswith(incomplete)
        ]
        return verbs if verbs or not incomplete.startswith("-") else self._flags(ctx, incomplete)

    def _flags(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = (name for param in self.get_params(ctx) for name in param.opts)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # As wide as the longest name of all, so that summaries begin in one column.
        width = max(map(len, _VERBS))
        for title, verbs in _VERB_GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(width), said) for verb, said in verbs.items()])


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error; allowed anywhere.")
@click.version_option(__version__, prog_name="arno")
def root(debug: bool) -> None:
    """Serve Florence-2: captions, detection, grounding, segmentation and OCR, over gRPC.

    \b
    Try it:
      arno up                        in one terminal, and in another
      arno infer photo.jpg --task OD --draw seen.png
    """


@root.command("version", cls=SectionedCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the versions of Arno, of Python and of the installed parts.

    \b
    Example:
      arno version --json
    """
    versions = {"arno": __version__, "python": platform.python_version()}
    for part in _REPORTED_PARTS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[part] = importlib.metadata.version(part)
    if as_json:
        click.echo(json.dumps(versions))
        return
    for name, found in versions.items():
        click.echo(f"{name:<14} {found}")


def main() -> NoReturn:
    """Run the command line; print an error as one red sentence on stderr.

    Exit codes: 0 success, 1 something failed, 2 the command or its input is wrong.
    """
    _print_any_name()
    # Anywhere: it is added to the end of a command that has just failed.
    debug = "--debug" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--debug"]
    verb = words[0] if words else ""
    if verb not in {"up", "demo", *_VERB_GROUPS["Servers"]}:
        # In a client gRPC's own log lines repeat the error that is printed; servers keep them.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
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
        shown = _presentable(error, verb)
        show_error(shown)
        sys.exit(exit_code(shown))
    sys.exit(code if isinstance(code, int) else 0)


def _print_any_name() -> None:
    """Print file names that are not valid UTF-8 with escapes, as JSON and Python do."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show_error(error: ArnoError, *, about: str = "") -> None:
    """Print an error to stderr as one red sentence, after the image or job it is about."""
    sentence = error.message
    if about:
        # An unreadable file is what was sent: one name is enough.
        unread = isinstance(error, InvalidFieldError) and error.metadata.get("sent") == about
        sentence = f"{about}: {error.metadata['problem'] if unread else error.message}"
    click.secho(f"error: {printable(sentence)}", fg="red", err=True)


def exit_code(error: ArnoError) -> int:
    """Return 2 if the caller can correct the command or its input, else 1."""
    correctable = isinstance(error, InvalidRequestError | ConfigurationError | ModelError)
    return EXIT_USAGE if correctable else EXIT_FAILURE


def _presentable(
    error: ArnoError | ModuleNotFoundError | OSError | ValueError, verb: str
) -> ArnoError:
    """Return an error as a sentence for users; raise one that only a developer can read."""
    if isinstance(error, ArnoError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return _missing(verb, error)
    if isinstance(error, ValueError):
        return _settings_error(error)
    if error.filename is not None:
        return ArnoError(f"{error.filename}: {error.strerror}")
    if error.errno in DISK_FULL:
        return ArnoError(str(error.strerror))
    raise error


def _settings_error(error: ValueError) -> ArnoError:
    """Return the errors of pydantic settings as one sentence; raise any other error."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        raise error
    # The value is left out: it may be a secret.
    problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return ConfigurationError("; ".join(problems))


def _missing(verb: str, error: ModuleNotFoundError) -> ArnoError:
    name = (error.name or "").partition(".")[0]
    if name == "arno":
        # A missing part of Arno itself is a broken installation, not a missing extra.
        return MissingExtraError(f"arno is not installed completely: no module {error.name}")
    extra = {
        "worker": "worker",
        "gateway": "gateway",
        "topics": "server",
        "dead": "server",
        "top": "server",
        "stream": "ingest",
        "ingest": "ingest",
        "notify": "notify",
        "model": "worker",
        "eval": "train",
        "train": "train",
        "web": "web",
        "mcp": "mcp",
        "annotate": "data",
        "refine": "data",
        "dataset": "data",
    }.get(verb, "all")
    return MissingExtraError(
        f"`arno {verb}` needs {name}, which is not installed: pip install 'arno[{extra}]'",
        extra=extra,
        module=name,
    )
