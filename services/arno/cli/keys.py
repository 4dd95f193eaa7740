"""`arno keys`: make, list and revoke API keys, and set the quotas of tenants."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import ValidationError
from rich.table import Table

from arno.cli.parameter_types import BYTES, FiniteRange
from arno.cli.terminal import SafeConsole, echo
from arno.errors import InvalidFieldError
from arno.gateway.access.api_key import ApiKey, new_key
from arno.gateway.access.key_file import (
    KeyEntry,
    KeyFile,
    TenantLimits,
    change_key_file,
    read_key_file,
)
from arno.ops.help_sections import SectionedGroup

Command = TypeVar("Command", bound=Callable[..., Any])

_DAYS_MAX: Final = 36_500
"""A century: beyond the year 9999 there are no dates."""

_QUOTAS: Final = tuple(TenantLimits.model_fields)

_with_file = click.option(
    "--keys-file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar="ARNO_KEYS_FILE",
    show_envvar=True,
    help="The file that the gateway reads; it sees changes within a second.",
)


def _with_quotas(command: Command) -> Command:
    for option in (
        click.option(
            "--stored-bytes",
            type=BYTES,
            metavar="N[KiB|MiB|GiB]",
            help="Most bytes of jobs, results and large images in the result store.",
        ),
        click.option(
            "--streams-open",
            type=click.IntRange(1),
            metavar="N",
            help="Most streams of frames open at once.",
        ),
        click.option(
            "--calls-open",
            type=click.IntRange(1),
            metavar="N",
            help="Most calls open at once, streams and watched jobs included.",
        ),
        click.option(
            "--bytes-in-flight",
            type=BYTES,
            metavar="N[KiB|MiB|GiB]",
            help="Most image bytes of the tenant's calls at once.",
        ),
        click.option(
            "--jobs-in-flight",
            type=click.IntRange(1),
            metavar="N",
            help="Most images submitted or waited for at once.",
        ),
        click.option(
            "--requests-per-s",
            type=FiniteRange(0, min_open=True),
            metavar="X",
            help="Most calls and frames a second.",
        ),
    ):
        command = option(command)
    return command


@click.group("keys", cls=SectionedGroup)
def verb() -> None:
    """Make, list and revoke API keys, and set the quotas of tenants.

    The file holds no key, only digests; a key is printed once, when it is made.

    \b
    Example:
      arno keys create acme --keys-file keys.json --requests-per-s 50
      arno gateway --keys-file keys.json
    """


@verb.command("create")
@click.argument("tenant")
@_with_file
@_with_quotas
@click.option(
    "--days",
    type=FiniteRange(0, _DAYS_MAX, min_open=True),
    metavar="N",
    help="Days until the key expires.  [default: never]",
)
@click.option("--note", default="", help="Purpose of the key; shown by `list`.")
def create(path: Path, tenant: str, days: float | None, note: str, **quotas: Any) -> None:
    """Make a key for TENANT and print it. It cannot be printed again.

    Quotas belong to the tenant: those that are given replace what it had.

    \b
    Example:
      arno keys create acme --keys-file keys.json --jobs-in-flight 200 --days 90
    """
    key = new_key()
    entry = _entry(key, tenant, days=days, note=note)
    change_key_file(
        path,
        lambda file: KeyFile(tenants=_limited(file, tenant, quotas), keys=(*file.keys, entry)),
    )
    echo(key.text)
    echo(f"key {key.id} of {tenant}: keep it safe, it is shown only now", err=True)


@verb.command("quota")
@click.argument("tenant")
@_with_file
@_with_quotas
@click.option("--none", "unlimited", is_flag=True, help="Remove all quotas of the tenant.")
def quota(path: Path, tenant: str, unlimited: bool, **quotas: Any) -> None:
    """Set quotas of TENANT; the others keep their values.

    \b
    Example:
      arno keys quota acme --keys-file keys.json --bytes-in-flight 256MiB
    """
    if unlimited == any(value is not None for value in quotas.values()):
        raise click.UsageError("give quotas, or --none")

    def change(file: KeyFile) -> KeyFile:
        if tenant not in {*file.tenants, *(entry.tenant for entry in file.keys)}:
            raise InvalidFieldError(field="TENANT", problem="no key is of this one", sent=tenant)
        if not unlimited:
            return KeyFile(tenants=_limited(file, tenant, quotas), keys=file.keys)
        others = {name: limits for name, limits in file.tenants.items() if name != tenant}
        return KeyFile(tenants=others, keys=file.keys)

    limits = change_key_file(path, change).tenants.get(tenant, TenantLimits())
    echo(f"{tenant}: {_said(limits)}")


@verb.command("list")
@_with_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line a key.")
def show_all(path: Path, as_json: bool) -> None:
    """List the keys, their tenants, and whether they are valid.

    \b
    Example:
      arno keys list --keys-file keys.json
    """
    file = read_key_file(path)
    if as_json:
        for entry in file.keys:
            quotas = file.tenants.get(entry.tenant, TenantLimits()).model_dump()
            facts = {**entry.model_dump(mode="json", exclude={"sha256"}), "quotas": quotas}
            echo(json.dumps({**facts, "state": _state(entry)}))
        return
    table = Table("id", "tenant", "state", "made", "expires", "quotas of the tenant", "note")
    for entry in file.keys:
        limits = file.tenants.get(entry.tenant, TenantLimits())
        dates = (_day(entry.created_at), _day(entry.expires_at))
        table.add_row(entry.id, entry.tenant, _state(entry), *dates, _said(limits), entry.note)
    SafeConsole(highlight=False).print(table)


@verb.command("revoke")
@click.argument("key_id", metavar="ID")
@_with_file
def revoke(path: Path, key_id: str) -> None:
    """Let the key ID count no more. Its entry stays, so that logs can be understood.

    \b
    Example:
      arno keys revoke k7m2q9xw --keys-file keys.json
    """

    def change(file: KeyFile) -> KeyFile:
        if key_id not in {entry.id for entry in file.keys}:
            raise InvalidFieldError(field="ID", problem="no key has it", sent=key_id)
        now_at = datetime.now(UTC)
        return KeyFile(
            tenants=file.tenants,
            keys=tuple(
                entry.model_copy(update={"revoked_at": entry.revoked_at or now_at})
                if entry.id == key_id
                else entry
                for entry in file.keys
            ),
        )

    change_key_file(path, change)
    echo(f"revoked {key_id}")


def _entry(key: ApiKey, tenant: str, *, days: float | None, note: str) -> KeyEntry:
    now_at = datetime.now(UTC).replace(microsecond=0)
    try:
        return KeyEntry(
            id=key.id,
            tenant=tenant,
            sha256=key.sha256,
            created_at=now_at,
            expires_at=None if days is None else now_at + timedelta(days=days),
            note=note,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        field = str(fault["loc"][0]).upper()
        raise InvalidFieldError(field=field, problem=fault["msg"]) from None


def _limited(file: KeyFile, tenant: str, quotas: dict[str, Any]) -> dict[str, TenantLimits]:
    given = {name: quotas[name] for name in _QUOTAS if quotas[name] is not None}
    if not given:
        return dict(file.tenants)
    had = file.tenants.get(tenant, TenantLimits())
    return {**file.tenants, tenant: had.model_copy(update=given)}


def _state(entry: KeyEntry) -> str:
    if entry.revoked_at is not None:
        return "revoked"
    expired = entry.expires_at is not None and entry.expires_at <= datetime.now(UTC)
    return "expired" if expired else "active"


def _said(limits: TenantLimits) -> str:
    given = {name: value for name, value in limits.model_dump().items() if value is not None}
    return (
        ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in given.items()
        )
        or "none"
    )


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d}"
