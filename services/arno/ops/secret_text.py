"""Secrets of settings: given as they are, or as paths of files."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from arno.errors import ConfigurationError


def secret_text(value: SecretStr | None, file: Path | None, *, name: str) -> str:
    """Return a secret, or an empty text where there is none.

    Args:
        value: The setting that holds it.
        file: The setting that says where it is; its last line end is not part of it.
        name: The setting's name, for messages.

    Raises:
        ConfigurationError: Both are given, or the file cannot be read. Holds no part of the secret.
    """
    if file is None:
        return "" if value is None else value.get_secret_value()
    if value is not None:
        raise ConfigurationError(f"{name}, {name}_file: give one of them")
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}_file: {file} is not UTF-8") from None
    except OSError as error:
        sentence = f"{name}_file: cannot read {file}: {error.strerror or error}"
        raise ConfigurationError(sentence) from error
