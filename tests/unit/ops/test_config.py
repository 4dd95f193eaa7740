"""Settings: where they come from, which source wins, and what stops a start."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
import pytest
from arno.errors import ConfigurationError
from arno.ops.config import Settings, SettingsSources, chosen, effective, load_settings
from arno.ops.flags import settings_options
from click.testing import CliRunner
from pydantic import Field, SecretStr


class OvenSettings(Settings):
    """Settings of a process that does not exist."""

    heat_celsius: int = Field(180, ge=0, le=300, description="How hot.")
    mode: Literal["air", "grill"] = Field("air", description="How.")
    racks: tuple[str, ...] = Field((), description="Which racks.")
    light: bool = Field(True, description="Whether the light is on.")
    store_url: str = Field("redis://127.0.0.1", description="Where recipes are.")
    token: SecretStr = Field(SecretStr(""), description="Who may bake.")


def load(**sources: object) -> OvenSettings:
    return load_settings(OvenSettings, SettingsSources(process="oven", **sources))  # type: ignore[arg-type]


def write(folder: Path, text: str) -> Path:
    path = folder / "arno.toml"
    path.write_text(text)
    return path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, 'heat_celsius = 100\nmode = "grill"\nracks = ["top"]')
    settings = load(
        flags={"heat_celsius": "120"}, environment={"ARNO_HEAT_CELSIUS": "110"}, file=file
    )
    assert settings.heat_celsius == 120
    assert settings.mode == "grill"
    assert settings.light


def test_the_own_table_of_the_file_wins_over_its_top(tmp_path: Path) -> None:
    file = write(tmp_path, "heat_celsius = 100\n[oven]\nheat_celsius = 90\n[fridge]\ncold = 1")
    assert load(file=file).heat_celsius == 90


def test_a_flag_that_was_not_given_leaves_the_environment_its_say() -> None:
    settings = load(flags={"heat_celsius": None}, environment={"ARNO_HEAT_CELSIUS": "77"})
    assert settings.heat_celsius == 77


def test_several_values_are_separated_by_commas() -> None:
    assert load(environment={"ARNO_RACKS": "top, bottom"}).racks == ("top", "bottom")


def test_all_faults_are_told_together_with_what_was_sent(tmp_path: Path) -> None:
    file = write(tmp_path, "heet_celsius = 1\n[oven]\nmod = 'air'")
    with pytest.raises(ConfigurationError) as caught:
        load(
            flags={"mode": "boil"},
            environment={"ARNO_HEAT_CELSIUS": "hot", "ARNO_LIHGT": "no", "HOME": "x"},
            file=file,
        )
    message = caught.value.message
    assert "5 settings cannot be used" in message
    assert "--heat-celsius (ARNO_HEAT_CELSIUS)" in message
    assert "sent: 'hot' (environment)" in message
    assert "sent: 'boil' (flag)" in message
    assert "ARNO_LIHGT: unknown; did you mean ARNO_LIGHT?" in message
    assert "heet_celsius: unknown; did you mean heat_celsius?" in message
    assert "[oven] mod: unknown; did you mean mode?" in message


def test_setting_without_default_that_nobody_gave_is_asked_for_by_name() -> None:
    class KilnSettings(Settings):
        """One setting that must be given."""

        clay: str = Field(description="Which clay.")

    with pytest.raises(ConfigurationError) as caught:
        load_settings(KilnSettings, SettingsSources(process="kiln"))
    assert str(caught.value).splitlines()[1:] == ["  --clay (ARNO_CLAY): is needed"]


def test_names_of_other_processes_may_share_environment_and_file(tmp_path: Path) -> None:
    file = write(tmp_path, "cold_celsius = 4")
    settings = load(
        environment={"ARNO_COLD_CELSIUS": "4"}, file=file, known_elsewhere=("cold_celsius",)
    )
    assert settings == OvenSettings()


@pytest.mark.parametrize("text", ["= 1", "\x00"], ids=["not toml", "a null byte"])
def test_an_unreadable_file_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"arno\.toml"):
        load(file=write(tmp_path, text))


def test_secrets_are_masked_where_settings_are_logged() -> None:
    settings = load(flags={"token": "hush", "store_url": "redis://me:hush@example:1/0"})
    shown = effective(settings)
    assert "hush" not in str(shown)
    assert shown["store_url"] == "redis://**********@example:1/0"


def test_what_was_set_is_shown_as_flags_with_secrets_masked() -> None:
    settings = load(
        flags={"token": "hush", "heat_celsius": None}, environment={"ARNO_RACKS": "a,b"}
    )
    assert chosen(settings) == "--racks a,b --token **********"
    assert chosen(load()) == "all defaults"


def test_settings_cannot_be_changed_once_built() -> None:
    with pytest.raises(Exception, match="frozen"):
        load().heat_celsius = 1  # type: ignore[misc]


@click.command()
@settings_options(OvenSettings, process="oven")
@click.option("--dish", default="pie")
def bake(settings: OvenSettings, dish: str) -> None:
    """Bake a dish."""
    click.echo(f"{dish} {settings.heat_celsius} {settings.light} {settings.racks}")


def test_every_field_is_a_flag_with_its_description_variable_and_default() -> None:
    text = CliRunner().invoke(bake, ["--help"]).output
    assert "Bake a dish." in text
    assert "--dish" in text
    for name, declared in OvenSettings.model_fields.items():
        if name == "token":
            continue
        assert "--" + name.replace("_", "-") in text
        assert str(declared.description).rstrip(".") in " ".join(text.split())
        assert "ARNO_" + name.upper() in text


def test_secret_has_no_flag_and_comes_from_variable_or_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(bake, ["--token", "hush"])
    assert (result.exit_code, "No such option" in result.output) == (2, True)
    assert load(environment={"ARNO_TOKEN": "hush"}).token.get_secret_value() == "hush"
    file = write(tmp_path, 'token = "hush"')
    assert load(file=file).token.get_secret_value() == "hush"


def test_fault_of_a_setting_repeats_no_secret(tmp_path: Path) -> None:
    class KilnSettings(OvenSettings):
        """A stricter oven."""

        token: SecretStr = Field(SecretStr("long enough"), min_length=8, description="Secret.")
        store_url: str = Field("http://h", pattern="^http://", description="Where.")

    environment = {"ARNO_TOKEN": "hush", "ARNO_STORE_URL": "redis://me:hush@example:1/0"}
    sources = SettingsSources(process="kiln", environment=environment)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(KilnSettings, sources)
    assert "hush" not in str(caught.value)
    assert "ARNO_TOKEN: Value should have at least 8 items" in str(caught.value)
    assert "redis://**********@example:1/0" in str(caught.value)
    assert caught.value.__cause__ is None


def test_flags_reach_the_command_beside_its_own_options() -> None:
    result = CliRunner().invoke(
        bake, ["--heat-celsius", "5", "--no-light", "--racks", "a,b", "--dish", "bread"]
    )
    assert result.output == "bread 5 False ('a', 'b')\n"


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    file = write(tmp_path, "heat_celsius = 42")
    result = CliRunner().invoke(bake, [], env={"ARNO_CONFIG": str(file)})
    assert result.output == "pie 42 True ()\n"
