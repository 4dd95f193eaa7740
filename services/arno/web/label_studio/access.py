"""The Label Studio that this process was told of: its uploads, and its list of predictions."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from arno import __version__
from arno.web.settings import AppSettings

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 30.0
_PAUSES_S: Final = (1.0, 5.0, 25.0)
"""Before another attempt; Label Studio may be restarting."""

_PERSONAL_TOKEN_DOTS: Final = 2
"""A personal access token is a JWT: three parts with dots between."""


class LabelStudio:
    """A client of Label Studio. Lives in one asyncio loop."""

    def __init__(self, settings: AppSettings) -> None:
        """Take its address and token; without an address there is no Label Studio.

        Raises:
            ConfigurationError: The token's file cannot be read.
        """
        self.url = settings.web_label_studio_url
        self._key = settings.label_studio_key()
        self._access = ""
        # The operator named this address, so it may be private.
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            headers={"User-Agent": f"arno/{__version__}"},
        )

    @property
    def writable(self) -> bool:
        """Whether predictions can be sent there."""
        return bool(self.url and self._key)

    def has(self, address: str) -> bool:
        """Return whether an address leads to it."""
        if not self.url:
            return False
        mine, other = urlsplit(self.url), urlsplit(address)
        return (mine.scheme, mine.netloc) == (other.scheme, other.netloc)

    async def headers(self) -> dict[str, str]:
        """Return the headers that show the token.

        Raises:
            aiohttp.ClientError: It gave no access for a personal token.
        """
        if not self._key:
            return {}
        if self._key.count(".") != _PERSONAL_TOKEN_DOTS:
            return {"Authorization": f"Token {self._key}"}
        if not self._access:
            address, document = f"{self.url}/api/token/refresh", {"refresh": self._key}
            async with self.session.post(address, json=document) as answer:
                answer.raise_for_status()
                self._access = (await answer.json())["access"]
                # Access lasts for minutes; the next call after that asks again.
                asyncio.get_running_loop().call_later(120, self._forget_access)
        return {"Authorization": f"Bearer {self._access}"}

    async def add_prediction(self, task_id: object, prediction: dict[str, Any]) -> bool:
        """Add a prediction to a task, and return whether that was done."""
        address, document = f"{self.url}/api/predictions/", {"task": task_id, **prediction}
        for pause_s in (*_PAUSES_S, None):
            try:
                async with self.session.post(
                    address, json=document, headers=await self.headers()
                ) as answer:
                    if answer.status < 400:
                        return True
                    why = f"status {answer.status}"
                    if answer.status < 500:
                        pause_s = None  # noqa: PLW2901 - the same would be refused again
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                why = str(error) or type(error).__name__
            if pause_s is None:
                break
            await asyncio.sleep(pause_s)
        logger.warning(
            "a late prediction was not taken by Label Studio: %s", why, extra={"task": task_id}
        )
        return False

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self.session.close()

    def _forget_access(self) -> None:
        self._access = ""
