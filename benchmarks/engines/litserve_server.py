"""Florence-2 behind LitServe, by its page on batching: python -m ... SERVING PORT.

Annotations are not postponed here: LitServe reads the types of its methods.
"""

import json
import sys
from typing import Any

import litserve
from fastapi import Request

from benchmarks.ask import Ask, Serving
from benchmarks.engines.florence import Florence


class FlorenceApi(litserve.LitAPI):  # type: ignore[misc]  # it has no types
    """Decodes, batches, predicts, encodes."""

    def __init__(self, serving: Serving) -> None:
        """Take how to serve."""
        super().__init__(max_batch_size=serving.batch_max, batch_timeout=0.01)
        self._serving = serving

    def setup(self, device: str) -> None:
        """Load the model, in the server's worker."""
        del device
        self._florence = Florence(self._serving)

    def decode_request(self, request: Request) -> Ask:
        """Read a request; LitServe hands over the body where the type says `Request`."""
        fields: Any = request
        return Ask.from_json(fields)

    def batch(self, inputs: list[Ask]) -> list[Ask]:
        """Leave the padding to the model."""
        return inputs

    def predict(self, x: list[Ask]) -> list[tuple[int, ...]]:
        """Answer a batch."""
        return self._florence.answer(x)

    def unbatch(self, output: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Give each request its own."""
        return output

    def encode_response(self, output: tuple[int, ...]) -> dict[str, Any]:
        """Write an answer."""
        return {"token_ids": list(output)}


if __name__ == "__main__":
    # It would start an MCP endpoint wherever the package `mcp` is, by names that its release 2 has
    # no more.
    litserve.server._MCP_AVAILABLE = False
    server = litserve.LitServer(
        FlorenceApi(Serving(**json.loads(sys.argv[1]))), accelerator="cpu", timeout=False
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, num_api_servers=1
    )
