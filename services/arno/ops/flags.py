"""Command line flags made from settings: one a field, with its description; none for secrets."""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from arno.ops.config import (
    CONFIG_FILE_VARIABLE,
    Settings,
    SettingsSources,
    flag_name,
    is_file_only,
    is_secret,
    load_settings,
    variable_name,
)
from arno.ops.help_sections import InSection

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(
    model: type[Settings], *, process: str, known_elsewhere: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a click command one flag for each field of ``model``.

    The command is called with ``settings=`` the loaded settings; its other options are passed on
    unchanged.

    Args:
        model: The settings of the process.
        process: Its name: its table in the configuration file.
        known_elsewhere: Names of other processes' fields, which may stand in a shared environment
            or file.
    """
    # Secrets have no flag: every user of a machine can read command lines.
    declaring = {name: _declaring_class(model, name) for name in model.model_fields}
    # What is the process's own comes first, what all processes have last.
    names = sorted(model.model_fields, key=lambda name: model.__mro__.index(declaring[name]))
    open_fields = {
        name: declared
        for name in names
        if not is_secret(declared := model.model_fields[name]) and not is_file_only(declared)
    }

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(config: Path | None, **options: Any) -> Any:
            flags = {name: options.pop(name) for name in open_fields}
            sources = SettingsSources(
                process=process,
                flags=flags,
                environment=os.environ,
                file=config,
                known_elsewhere=known_elsewhere,
            )
            return command(settings=load_settings(model, sources), **options)

        run.__name__ = command.__name__
        run.__doc__ = command.__doc__
        # Keep the options that decorators below this one have already added.
        vars(run)["__click_params__"] = list(getattr(command, "__click_params__", []))
        for name, declared in reversed(open_fields.items()):
            run = _option(name, declared, declaring[name].help_section)(run)
        return click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar=CONFIG_FILE_VARIABLE,
            show_envvar=True,
            help="TOML or YAML file with settings; flags and variables win over it.",
        )(run)

    return decorate


def _declaring_class(model: type[Settings], name: str) -> type[Settings]:
    return next(
        base
        for base in model.__mro__
        if issubclass(base, Settings) and name in inspect.get_annotations(base)
    )


def _option(name: str, declared: FieldInfo, section: str) -> Callable[[Command], Command]:
    option = partial(click.option, cls=InSection, section=section)
    help_text = (
        f"{declared.description or ''}  [env: {variable_name(name)}; default: {_shown(declared)}]"
    )
    if declared.annotation is bool:
        negative = "--no-" + name.replace("_", "-")
        return option(f"{flag_name(name)}/{negative}", name, default=None, help=help_text)
    return option(
        flag_name(name), name, default=None, metavar=_metavar(declared.annotation), help=help_text
    )


def _shown(declared: FieldInfo) -> str:
    if declared.is_required():
        return "required"
    default = declared.get_default(call_default_factory=True, validated_data={})
    if default is None or default in ("", ()):
        return "none"
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is Literal:
        return "[" + "|".join(map(str, get_args(annotation))) + "]"
    if get_origin(annotation) is tuple:
        return "A,B,.."
    return {int: "N", float: "X", Path: "PATH"}.get(annotation, "TEXT")
