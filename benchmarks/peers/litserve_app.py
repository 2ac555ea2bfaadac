"""LitServe as a forwarding service: ``python -m benchmarks.peers.litserve_app --port N``.

One inference worker, asynchronous so that it has many calls under way, reached through LitServe's faster queue
(ZeroMQ). LitServe's own form of input is JSON, with files in base64.
"""

import argparse
import base64
from collections.abc import Mapping
from typing import Any

import litserve  # type: ignore[import-not-found,unused-ignore]  # in the peer's own environment

from benchmarks.peers.forwarding import answer, service


class Forwarding(litserve.LitAPI):  # type: ignore[misc,unused-ignore]  # as above
    """Labels the images of a request: ``image``, ``images``, ``photo`` or ``pixels``, each in base64."""

    def setup(self, device: str) -> None:
        """Nothing: the channel is made in the event loop, by the first request."""

    async def decode_request(self, request: Mapping[str, Any]) -> tuple[str, list[bytes]]:
        """The kind of input, and its bytes."""
        ((kind, value),) = request.items()
        return kind, [base64.b64decode(each) for each in (value if isinstance(value, list) else [value])]

    async def predict(self, given: tuple[str, list[bytes]]) -> dict[str, Any]:
        """Call the inference service."""
        kind, files = given
        if kind == "photo":
            return answer(await service().label_photo(files[0]))
        if kind == "pixels":
            return answer(await service().label_pixels(files[0]))
        return answer(*await service().label_all(files))

    async def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """It is JSON as it is."""
        return output


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    api = Forwarding(api_path="/score", enable_async=True)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
        loop="uvloop",
        http="httptools",
    )


if __name__ == "__main__":
    main()
