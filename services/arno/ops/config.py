"""Settings of a process: flags, then ``ARNO_*`` variables, then a TOML file, then defaults.

A process's settings are one frozen model, built once at its start. Unknown names and ill-typed
values stop the start, all faults printed together. Nothing below a process's ``main.py`` reads the
environment.

The file holds the same names as the flags, with underscores, as TOML, or as YAML where its name
ends so. Names at its top are for every process; a table such as ``[gateway]`` is for one:

    redis_url = "redis://127.0.0.1:6379/0"
    [worker]
    model = "tiny"

What has parts of its own (``FILE_ONLY``) stands in the file alone.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from arno.errors import ConfigurationError, MissingExtraError
from arno.ops.masking import MASK, masked

ENVIRONMENT_PREFIX = "ARNO_"
CONFIG_FILE_VARIABLE = "ARNO_CONFIG"

FILE_ONLY: Final[dict[str, JsonValue]] = {"file_only": True}
"""Marks a field, as its ``json_schema_extra``, that neither a flag nor a variable can hold."""

_YAML_ENDINGS: Final = frozenset({".yaml", ".yml"})


class Settings(BaseModel):
    """Base of all settings: frozen, and every field has a description."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    help_section: ClassVar[str] = "Settings"
    """The heading, in `--help`, of the flags of the fields that a class declares."""


class LogSettings(Settings):
    """How a process logs."""

    help_section = "Logs"

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json, text, or auto: text on a terminal and json elsewhere."
    )


class ObservabilitySettings(LogSettings):
    """What every server process reports about itself."""

    help_section = "Metrics and probes"

    metrics_host: str = Field(
        "127.0.0.1", description="Where /metrics, /livez and /readyz are served."
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of /metrics, /livez and /readyz; 0 takes a free one."
    )


class TenantMetricsSettings(Settings):
    """What gateways and workers tell about tenants."""

    help_section = "Metrics and probes"

    metrics_tenants_max: int = Field(
        100,
        ge=0,
        le=10_000,
        description="Tenants that metrics name; later ones are counted together, as (others).",
    )


SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True, slots=True)
class SettingsSources:
    """Where settings come from.

    Attributes:
        process: The process's name: its table in the file, and the first word of messages.
        flags: Field names to values given on the command line.
        environment: The process's environment, whole.
        file: The TOML file, or None.
        known_elsewhere: Field names of other processes, which may share environment and file.
    """

    process: str
    flags: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    known_elsewhere: Collection[str] = ()


def load_settings(model: type[SettingsT], sources: SettingsSources) -> SettingsT:
    """Build the settings of a process.

    Raises:
        ConfigurationError: Names are unknown or values cannot be used; the message lists all of
            them.
    """
    faults: list[str] = []
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    layers = [
        (f"file {sources.file}", _file_values(model, sources, faults)),
        ("environment", _environment_values(model, sources, faults)),
        ("flag", {name: value for name, value in sources.flags.items() if value is not None}),
    ]
    for origin, layer in layers:
        for name, value in layer.items():
            values[name] = _split(model, name, value)
            origins[name] = origin
    try:
        settings = model.model_validate(values)
    except ValidationError as error:
        faults += [_describe(model, fault, origins) for fault in error.errors()]
    if faults:
        lines = "".join(f"\n  {fault}" for fault in faults)
        count = "1 setting" if len(faults) == 1 else f"{len(faults)} settings"
        raise ConfigurationError(f"arno {sources.process}: {count} cannot be used:{lines}")
    return settings


def effective(settings: Settings) -> dict[str, object]:
    """Return the settings as plain values for the log, secrets masked."""
    return {name: _shown(value) for name, value in settings.model_dump().items()}


def is_secret(declared: FieldInfo) -> bool:
    """Whether a field holds a secret: then no flag takes it, and no message repeats it."""
    return "SecretStr" in str(declared.annotation)


def is_file_only(declared: FieldInfo) -> bool:
    """Whether a field stands in the configuration file alone."""
    return declared.json_schema_extra == FILE_ONLY


def chosen(settings: Settings) -> str:
    """Return the flags of what was set and not left to its default, secrets masked."""
    shown, fields = effective(settings), type(settings).model_fields
    names = sorted(name for name in settings.model_fields_set if not is_file_only(fields[name]))
    named = ((name, shown[name]) for name in names)
    flags = (f"{flag_name(name)} {_written(value)}" for name, value in named)
    return " ".join(flags) or "all defaults"


def variable_name(field_name: str) -> str:
    """Return the environment variable of a field."""
    return ENVIRONMENT_PREFIX + field_name.upper()


def flag_name(field_name: str) -> str:
    """Return the command line flag of a field."""
    return "--" + field_name.replace("_", "-")


def _written(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _file_values(
    model: type[Settings], sources: SettingsSources, faults: list[str]
) -> dict[str, object]:
    if sources.file is None:
        return {}
    try:
        document = _document(sources.file)
    except (OSError, ValueError) as error:
        faults.append(f"file {sources.file}: {error}")
        return {}
    shared = {name: value for name, value in document.items() if not isinstance(value, dict)}
    own: Any = document.get(sources.process, {})
    own = own if isinstance(own, dict) else {}
    for name in shared:
        if name not in model.model_fields and name not in sources.known_elsewhere:
            faults.append(f"file {sources.file}: {name}: unknown{_suggestion(name, model)}")
    for name in own:
        if name not in model.model_fields:
            where = f"file {sources.file}: [{sources.process}]"
            faults.append(f"{where} {name}: unknown{_suggestion(name, model)}")
    return {name: value for name, value in {**shared, **own}.items() if name in model.model_fields}


def _document(file: Path) -> dict[str, Any]:
    """Return what the file holds; ValueError where it cannot be read as what its ending says."""
    text = file.read_text(encoding="utf-8")
    if file.suffix not in _YAML_ENDINGS:
        return tomllib.loads(text)
    try:
        import yaml
    except ImportError as error:
        sentence = f"{file}: YAML needs PyYAML: pip install 'arno[ingest]'"
        raise MissingExtraError(sentence, extra="ingest") from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"must hold names and values; it holds a {type(document).__name__}")
    return {str(name): value for name, value in document.items()}


def _environment_values(
    model: type[Settings], sources: SettingsSources, faults: list[str]
) -> dict[str, object]:
    found: dict[str, object] = {}
    for variable, value in sources.environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_FILE_VARIABLE:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in model.model_fields:
            found[name] = value
        elif name not in sources.known_elsewhere:
            known = [*model.model_fields, *sources.known_elsewhere]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {variable_name(close[0])}?" if close else ""
            faults.append(f"{variable}: unknown{hint}")
    return found


def _suggestion(name: str, model: type[Settings]) -> str:
    close = difflib.get_close_matches(name, model.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _split(model: type[Settings], name: str, value: object) -> object:
    # Flags and variables are strings; a field that holds several values takes them with commas
    # between.
    declared = model.model_fields.get(name)
    several = declared is not None and "tuple[" in str(declared.annotation)
    if several and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _describe(model: type[Settings], fault: Any, origins: Mapping[str, str]) -> str:
    problem = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:  # of several settings that do not go together; their names are in it
        return problem
    name = str(fault["loc"][0])
    origin = origins.get(name, "default")
    declared = model.model_fields.get(name)
    if declared is not None and is_file_only(declared):
        return f"{_place(fault['loc'])}: {_file_problem(fault, problem)} ({origin})"
    if fault["type"] == "missing":
        return f"{flag_name(name)} ({variable_name(name)}): is needed"
    if declared is not None and is_secret(declared):
        return f"{variable_name(name)}: {problem} ({origin})"
    return (
        f"{flag_name(name)} ({variable_name(name)}): {problem}; "
        f"sent: {masked(repr(fault['input']))} ({origin})"
    )


def _place(loc: tuple[str | int, ...]) -> str:
    """Return where in a file a value stands: ``topics[0].results``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return "".join(parts).removeprefix(".")


def _file_problem(fault: Any, problem: str) -> str:
    match fault["type"]:
        case "missing":
            return "is needed"
        case "extra_forbidden":
            return "unknown"
        case _:
            return f"{problem}; sent: {masked(repr(fault['input']))}"


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_shown, value))
    return masked(value) if isinstance(value, str) else value
