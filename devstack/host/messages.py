"""The few protocol messages that the worker library makes.

The library takes the module of its messages as an argument (in Azure: the code generated from ``FunctionRpc.proto``),
so a host in the same process needs no protobuf. The names and numbers are those of that file. The library passes
every field that it sets as an argument; the annotations name those that the host reads.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace


class BindingInfo(SimpleNamespace):
    """One binding of a function. Directions and data types share the class, as in the generated code."""

    out = 1
    inout = 2
    undefined = 0


class RpcException(SimpleNamespace):
    """An exception as text."""

    message: str
    stack_trace: str


class StatusResult(SimpleNamespace):
    """How a request to the worker library ended; ``exception`` is there after a failure only."""

    Failure = 0
    Success = 1

    status: int
    exception: RpcException


class WorkerInitResponse(SimpleNamespace):
    """The response to the request that loads the app."""

    result: StatusResult
    capabilities: Mapping[str, str]


class RpcFunctionMetadata(SimpleNamespace):
    """One function that the worker library found."""

    name: str
    function_id: str
    directory: str
    script_file: str
    raw_bindings: Sequence[str]


class FunctionMetadataResponse(SimpleNamespace):
    """The response to the request for the functions; None where the app has no script file."""

    function_metadata_results: list[RpcFunctionMetadata] | None


WorkerMetadata = RpcRetryOptions = SimpleNamespace
