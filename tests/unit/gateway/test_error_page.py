"""`docs/errors.md` and `docs/limits.md` say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from arno import errors
from arno.cli.servers import KNOWN_SETTINGS
from arno.errors import ArnoError
from arno.gateway.settings import GatewayLimits
from arno.ingest.settings import TopicRoute
from arno.notify.settings import Subscription, Webhook
from arno.web.settings import AppSettings

DOCS = Path(__file__).resolve().parents[3] / "docs"

ROW = re.compile(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \| .+ \| (yes|no|may help) \| .+ \|$", re.M)
ROWS = {row[1]: row for row in ROW.finditer((DOCS / "errors.md").read_text())}


def every_class() -> list[type[ArnoError]]:
    found = [ArnoError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", every_class())
def test_every_reason_has_its_row_with_code_and_advice_on_retries(kind):
    row = ROWS[kind.reason]
    assert row[2] == kind.code.name
    assert (row[3] != "no") == kind.retryable


def test_page_lists_no_reason_that_does_not_exist():
    own = {"INTERNAL"}  # unexpected failures, which have no class
    assert ROWS.keys() == {kind.reason for kind in every_class()} | own


def test_page_of_limits_states_the_defaults_of_settings_that_exist():
    page = (DOCS / "limits.md").read_text()
    # The first column says what is limited, the others by which setting.
    named = set(re.findall(r"(?<=\| )`([a-z_]+)` \|", page)) - set(
        re.findall(r"^\| `(\w+)`", page, re.M)
    )
    assert named
    assert named <= KNOWN_SETTINGS
    for name in ("image_bytes_max", "image_pixels_max", "bytes_in_flight_max", "text_bytes_max"):
        (line,) = [line for line in page.splitlines() if f"| `{name}` |" in line]
        assert str(GatewayLimits.model_fields[name].default) in line
    for name in set(AppSettings.model_fields) & named:
        (line,) = [line for line in page.splitlines() if f"| `{name}` |" in line]
        assert (
            f"{AppSettings.model_fields[name].default:g}" in line
            or str(AppSettings.model_fields[name].default) in line
        )


@pytest.mark.parametrize(
    ("part", "settings"),
    [("topics", TopicRoute), ("subscriptions", Subscription), ("subscriptions.webhook", Webhook)],
)
def test_page_of_limits_states_the_defaults_of_parts_of_files(part, settings):
    page = (DOCS / "limits.md").read_text()
    rows = re.findall(
        rf"^\| [^|]+ \| ([\d.]+) ?\w* \| `{re.escape(part)}\.([a-z_]+)` \|", page, re.M
    )
    assert rows
    for shown, name in rows:
        assert float(shown) == settings.model_fields[name].default
