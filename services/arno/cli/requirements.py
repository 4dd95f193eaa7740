"""What `arno up` needs before it starts anything: libraries, and settings that can be used."""

from __future__ import annotations

import os
from pathlib import Path

from arno.bus import make_admin
from arno.bus.ports import TopicAdmin
from arno.bus.settings import BusSettings
from arno.cli.checks import missing_modules
from arno.cli.machine import Machine, MachineOptions
from arno.cli.settings_names import KNOWN_SETTINGS
from arno.engine.checkpoints.folders import find_model_folders
from arno.engine.null_engine import NULL_MODEL
from arno.errors import MissingExtraError
from arno.gateway.settings import GatewaySettings
from arno.ops.config import CONFIG_FILE_VARIABLE, SettingsSources, load_settings
from arno.worker.settings import WorkerSettings


def require_parts() -> None:
    """Refuse to start without the libraries of gateway and worker.

    Raises:
        MissingExtraError: Some are not installed; the message names all of them.
    """
    missing = sorted({*missing_modules("gateway"), *missing_modules("worker")})
    if missing:
        raise MissingExtraError(
            f"`arno up` needs {', '.join(missing)}, not installed: pip install 'arno[all]'",
            extra="all",
        )


def check_settings(options: MachineOptions, machine: Machine) -> None:
    """Refuse what the children would refuse, before any of them is started.

    Raises:
        ConfigurationError: Settings of gateway or worker are unknown or cannot be used.
    """
    for name, model in (("gateway", GatewaySettings), ("worker", WorkerSettings)):
        load_settings(model, _sources(name, options, machine))


def require_model(options: MachineOptions, machine: Machine) -> None:
    """Refuse a model that the worker would not find; one that it will fetch is left to it.

    Raises:
        ModelError: There is no such model here.
    """
    worker = load_settings(WorkerSettings, _sources("worker", options, machine))
    if options.model != NULL_MODEL and not worker.download:
        find_model_folders(options.model, base_model=worker.base_model)


def make_bus_admin(options: MachineOptions, machine: Machine) -> TopicAdmin:
    """Return an admin of the bus that the children use."""
    return make_admin(load_settings(BusSettings, _sources("up", options, machine)))


def _sources(process: str, options: MachineOptions, machine: Machine) -> SettingsSources:
    """Return what the children will see: the same flags over the same environment."""
    flags: dict[str, object] = {
        "bus": options.bus,
        "redis_url": machine.redis_url,
        "redis_password_file": str(machine.redis_files.password),
    }
    if options.kafka_bootstrap:
        flags["kafka_bootstrap"] = options.kafka_bootstrap
    return SettingsSources(
        process=process,
        flags=flags,
        environment=os.environ,
        file=Path(os.environ[CONFIG_FILE_VARIABLE]) if CONFIG_FILE_VARIABLE in os.environ else None,
        known_elsewhere=KNOWN_SETTINGS,
    )
