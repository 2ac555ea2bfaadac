"""Calls of the published, synchronous Triton client, run as a module with ``HOST:PORT``.

The client uses gevent, which should not run in a process with an asyncio event loop. The results are printed as JSON
for ``test_tritonclient.py``.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.http as triton  # type: ignore[import-untyped]  # published without type information
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]  # as above

from devstack.model.preprocess import decode_all
from devstack.photos import photo

INPUT, OUTPUT = "images", "output_alias"


def image(*names: str) -> Any:
    """The input tensor with the files of photographs."""
    files = np.array([photo(name).read_bytes() for name in names], dtype=object)
    return triton.InferInput(INPUT, [len(names)], "BYTES").set_data_from_numpy(files)


def pixels(*names: str, binary: bool = True) -> Any:
    """The input tensor with decoded photographs."""
    values = decode_all([photo(name).read_bytes() for name in names])
    return triton.InferInput(INPUT, list(values.shape), "FP32").set_data_from_numpy(values, binary_data=binary)


def best(result: Any) -> list[list[float]]:
    """The index and the value of each row's maximum."""
    return [[int(row.argmax()), float(row.max())] for row in result.as_numpy(OUTPUT)]


def concurrent(client: Any, *names: str) -> list[list[float]]:
    """The best class of each photograph, with concurrent requests."""
    pending = [client.async_infer("imagenet", [image(name)]) for name in names]
    return [best(request.get_result())[0] for request in pending]


def texts(result: Any) -> list[list[str]]:
    """The classes as text; binary responses have them as bytes."""
    return [[text.decode() if isinstance(text, bytes) else text for text in row] for row in result.as_numpy(OUTPUT)]


def error(call: Callable[[], object]) -> list[str]:
    """The status and the message of a failed call."""
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return []


def session(client: Any) -> dict[str, Any]:
    """The results of all calls."""
    one = [image("coffee")]
    requested_output = triton.InferRequestedOutput
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata("imagenet"),
        "model of a version": client.get_model_metadata("imagenet", "1"),
        "models ready": [
            client.is_model_ready(name, version)
            for name, version in (("imagenet", ""), ("imagenet", "1"), ("imagenet", "2"), ("dogs", ""))
        ],
        "image": best(client.infer("imagenet", one)),
        "image for a service with tensors": best(client.infer("imagenet-tensor", one)),
        "several images": best(client.infer("imagenet", [image("coffee", "rocket", "chelsea")])),
        "concurrent requests": concurrent(client, "coffee", "rocket", "chelsea"),
        "pixels": best(client.infer("imagenet", [pixels("coffee", "rocket")])),
        "pixels for a service with tensors": best(client.infer("imagenet-tensor", [pixels("coffee", "rocket")])),
        "pixels in JSON": best(client.infer("imagenet", [pixels("coffee", binary=False)])),
        "more pixels than fit into a message": best(client.infer("imagenet", [pixels(*["coffee"] * 8)])),
        "output in JSON": best(client.infer("imagenet", one, outputs=[requested_output(OUTPUT, binary_data=False)])),
        "binary output": best(client.infer("imagenet", one, outputs=[requested_output(OUTPUT, binary_data=True)])),
        "classes": texts(client.infer("imagenet", one, outputs=[requested_output(OUTPUT, class_count=3)])),
        "classes in JSON": texts(
            client.infer("imagenet", one, outputs=[requested_output(OUTPUT, binary_data=False, class_count=3)])
        ),
        "id": client.infer("imagenet", one, request_id="a request").get_response()["id"],
        "version": client.infer("imagenet", one, "1").get_response()["model_version"],
        "gzip": best(client.infer("imagenet", one, request_compression_algorithm="gzip")),
        "deflate": best(client.infer("imagenet", one, request_compression_algorithm="deflate")),
        "compressed response accepted": best(client.infer("imagenet", one, response_compression_algorithm="gzip")),
        "unknown model": error(lambda: client.infer("dogs", one)),
        "unknown version": error(lambda: client.infer("imagenet", one, "2")),
        "unknown input": error(lambda: client.infer("imagenet", [triton_input("pictures")])),
        "unknown output": error(lambda: client.infer("imagenet", one, outputs=[requested_output("labels")])),
        "no image": error(lambda: client.infer("imagenet", [triton_input(INPUT)])),
        "not offered": error(client.get_model_repository_index),
    }


def triton_input(name: str) -> Any:
    """An input with data that is not an image."""
    return triton.InferInput(name, [1], "BYTES").set_data_from_numpy(np.array([b"hello"], dtype=object))


if __name__ == "__main__":
    with triton.InferenceServerClient(sys.argv[1], concurrency=3) as client:
        print(json.dumps(session(client)))
