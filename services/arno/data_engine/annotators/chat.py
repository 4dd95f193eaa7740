"""Models behind an OpenAI-compatible endpoint as annotators: vLLM, SGLang, a service.

Stands alone: it alone speaks HTTP.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from PIL.Image import Image

from arno.data_engine.annotators.annotator import Finding
from arno.dataset.records import Granularity
from arno.errors import EngineError, InvalidFieldError

KEY_VARIABLE: Final = "OPENAI_API_KEY"
_QUESTIONS: Final = {
    Granularity.BRIEF: "Describe the image in one short sentence.",
    Granularity.DETAILED: "Describe the image in two or three sentences.",
    Granularity.MORE_DETAILED: "Describe everything that the image shows, in one paragraph.",
}
_JPEG_QUALITY: Final = 90
_TIMEOUT_S: Final = 120.0
_SHOWN_MAX: Final = 200


class ChatAnnotator:
    """Has a model describe each image, by chat completions."""

    def __init__(
        self, address: str, model: str, *, granularity: str = "brief", question: str = ""
    ) -> None:
        """Take the endpoint; nothing is asked yet.

        Args:
            address: Up to and with ``/v1``.
            model: As the endpoint names it.
            granularity: Of the texts.
            question: What is asked; empty is a question for the granularity.

        Raises:
            InvalidFieldError: The address is none of HTTP, or the granularity is unknown.
        """
        if not address.startswith(("http://", "https://")):
            problem = "not an address of HTTP"
            raise InvalidFieldError(
                field="--annotator chat", problem=problem, limit="http://HOST/v1", sent=address
            )
        if granularity not in set(Granularity):
            raise InvalidFieldError(
                field="--annotator chat: granularity",
                problem="unknown",
                limit=", ".join(Granularity),
                sent=granularity,
            )
        self._address = f"{address.rstrip('/')}/chat/completions"
        self._model = model
        self._granularity = Granularity(granularity)
        self._question = question or _QUESTIONS[self._granularity]
        self.fingerprint = f"{model} at {address}: {self._question}"

    def __call__(self, image: Image) -> Iterator[Finding]:
        """Yield the model's text about an image.

        Raises:
            EngineError: The endpoint cannot be reached, refuses, or answers nonsense.
        """
        answer = self._ask(self._content(image))
        try:
            text = answer["choices"][0]["message"]["content"].strip()
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            shown = json.dumps(answer)[:_SHOWN_MAX]
            raise EngineError(f"{self._address}: no chat completion: {shown}") from error
        if text:
            yield {"granularity": self._granularity, "text": text}

    def _content(self, image: Image) -> bytes:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=_JPEG_QUALITY)
        picture = base64.b64encode(file.getvalue()).decode()
        parts = [
            {"type": "text", "text": self._question},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
        ]
        asked = {
            "model": self._model,
            "messages": [{"role": "user", "content": parts}],
            "temperature": 0,
        }
        return json.dumps(asked).encode()

    def _ask(self, content: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self._address, content, headers)  # noqa: S310 - HTTP, as checked above
        try:
            return self._read(request)
        except (OSError, ValueError) as error:
            raise EngineError(f"{self._address}: {error}") from error

    def _read(self, request: Request) -> Any:
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return json.loads(answer.read())
        except HTTPError as error:
            # The body of a refusal may come late, or never: then that is the error.
            with error:
                told = error.read()[:_SHOWN_MAX].decode(errors="replace")
            raise EngineError(f"{self._address}: {error.code}: {told}") from error
