"""The few protocol messages that the worker library makes and reads, as plain classes.

The library takes the module of its messages as an argument (in Azure: the code generated from
``FunctionRpc.proto``), so a host that shares its process needs no protobuf. The names and numbers are that file's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass
class BindingInfo:
    """One binding of a function, as the worker library describes it."""

    type: str = ""
    direction: int = 0
    data_type: int | None = None

    # Directions and data types share the class, as they do in the generated code.
    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2
    undefined: ClassVar[int] = 0


@dataclass
class RpcException:
    """An exception, in words."""

    message: str = ""
    stack_trace: str = ""
    source: str = ""


@dataclass
class StatusResult:
    """How a request to the worker library ended."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1

    status: int = 0
    exception: RpcException | None = None


@dataclass
class WorkerMetadata:
    """Which worker this is."""

    runtime_name: str = ""
    runtime_version: str = ""
    worker_version: str = ""
    worker_bitness: str = ""
    custom_properties: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WorkerInitResponse:
    """The answer to the request that loads the app."""

    result: StatusResult
    capabilities: Mapping[str, str] = field(default_factory=dict)
    worker_metadata: WorkerMetadata | None = None


@dataclass
class RpcRetryOptions:
    """A function's retry policy."""

    max_retry_count: int = 0
    retry_strategy: str = ""
    delay_interval: Any = None
    minimum_interval: Any = None
    maximum_interval: Any = None


@dataclass
class RpcFunctionMetadata:
    """One function that the worker library found."""

    name: str
    function_id: str
    directory: str = ""
    script_file: str = ""
    entry_point: str = ""
    language: str = ""
    is_proxy: bool = False
    managed_dependency_enabled: bool = False
    bindings: Mapping[str, BindingInfo] = field(default_factory=dict)
    raw_bindings: Sequence[str] = ()
    retry_options: RpcRetryOptions | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FunctionMetadataResponse:
    """The answer to the request for the functions that were found; None where the app has no script file."""

    function_metadata_results: list[RpcFunctionMetadata] | None = None
    use_default_metadata_indexing: bool = False
    result: StatusResult | None = None
