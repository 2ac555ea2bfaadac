"""TensorFlow Serving's protocol: PredictionService and ModelService.

A request's bytes are assembled by hand around the payload, which is thus copied only once: a 600 KB tensor takes some
tens of microseconds instead of most of a millisecond through message objects. The field numbers are TensorFlow's, and
a test compares the result with what the generated code reads.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from protos.serving_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelSpec,
    ModelVersionStatus,
    PredictResponse,
    SignatureDefMap,
)
from protos.tensor_pb2 import DT_FLOAT, DT_HALF, DT_STRING, DT_UINT8, DataType, TensorProto, TensorShapeProto
from shared.errors import ServiceAnswerInvalid
from shared.quoting import listed, printable, quoted
from shared.settings import Datatype, OutputKind, ServiceSettings
from shared.upstream.codecs import health, outputs, tensorflow_tensors, tensors
from shared.upstream.codecs.bounds import Bounds, parse
from shared.upstream.codecs.interface import (
    MAX_RANK,
    MAX_VALUES,
    Output,
    Outputs,
    RequestTemplate,
    Rpc,
    Selector,
    Signatures,
    VersionStatus,
)
from shared.upstream.codecs.layouts import Layouts
from shared.upstream.codecs.model import ModelInterface, ModelMetadata, TensorMetadata, from_settings
from shared.upstream.codecs.wire import LENGTH, VARINT, field, tag, varint

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

DEFAULT_SIGNATURE = "serving_default"

# The only metadata field that TensorFlow Serving has.
_METADATA_FIELD = "signature_def"

# gRPC's statuses by number: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
_STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)

# Bounds of the responses. A real one has some tens of fields, beside the values, which are one (or one each, where
# they are not packed).
_OUTPUT = Bounds(size=4 * MAX_VALUES + 100_000, fields=10_000)
_DESCRIPTION = Bounds(size=256 * 1024, fields=2_000)
# Versions of a model, and characters of a name in its metadata.
_MAX_VERSIONS = 100
_MAX_NAME = 200

_DTYPES = {
    Datatype.BYTES: DT_STRING,
    Datatype.UINT8: DT_UINT8,
    Datatype.FP16: DT_HALF,
    Datatype.FP32: DT_FLOAT,
}
# By their names in metadata.
_DATATYPES = {DataType.Name(dtype): name for dtype, name in tensorflow_tensors.DATATYPES.items()}


class TensorFlowCodec:
    """Implements :class:`shared.upstream.codecs.Codec` for one service."""

    infer_method = PREDICT

    def __init__(self, service: ServiceSettings, model: ModelInterface | None = None) -> None:
        self._service = service
        self.model = model if model is not None or service.is_discovered else from_settings(service)
        self._layouts = Layouts()

    def for_model(self, model: ModelInterface) -> "TensorFlowCodec":
        """A codec of the same service for this model."""
        return TensorFlowCodec(self._service, model)

    def requests(self, selector: Selector) -> "PredictRequests":
        """The PredictRequests for a version and signature."""
        spec = self._spec(selector)
        spec.signature_name = selector.signature or self._service.signature
        return PredictRequests(spec, self._the_model.input_name)

    def scores(self, response: bytes) -> npt.NDArray[np.float32]:
        """The scores of one image: ``[classes]`` float32, all finite.

        Raises:
            ServiceAnswerInvalid: no such output, another type or shape, or values that are not finite.
        """
        return self.classified(response).values

    def classified(self, response: bytes) -> Output:
        """As :meth:`scores`, with the model's version."""
        return outputs.classified(self._read(response), self._service)

    def output(self, response: bytes, rows: int) -> Output:
        """The output for that many inputs: ``[rows, ...]`` float32, all finite.

        Raises:
            ServiceAnswerInvalid: no such output, another type or number of rows, or values that are not finite.
        """
        return outputs.with_rows(self._read(response), rows)

    def outputs(self, response: bytes) -> Outputs:
        """All outputs, or the one that the settings name, as they are."""
        answer, name = parse(PredictResponse, response, _OUTPUT), self._the_model.output_name
        found = [
            tensorflow_tensors.read(one, answer.outputs[one]) for one in sorted(answer.outputs) if name in ("", one)
        ]
        return tensors.outputs(found, name, _version_of(answer), batched=self._the_model.batched)

    def check(self, response: bytes) -> None:
        """Check that the response is of the kind that the settings say."""
        read = self.outputs if self._service.output is OutputKind.RAW else self.classified
        read(response)

    def labelled(self, requests: RequestTemplate, classes: int) -> RequestTemplate:
        """The protocol has no names of classes, so the settings exclude this."""
        raise NotImplementedError

    def labels(self, response: bytes) -> list[str]:
        """As :meth:`labelled`."""
        raise NotImplementedError

    def describe(self) -> tuple[Rpc]:
        """A GetModelMetadataRequest."""
        return (self.metadata(Selector()),)

    def described(self, responses: Sequence[bytes | None]) -> ModelMetadata:
        """The inputs and outputs of the signature in use."""
        (response,) = responses
        if response is None:
            raise ServiceAnswerInvalid("The service does not report its models' metadata.")
        return _description(self.signatures(response), self._service.signature)

    def status(self, selector: Selector) -> Rpc:
        """A GetModelStatusRequest."""
        return Rpc(STATUS, GetModelStatusRequest(model_spec=self._spec(selector)).SerializeToString())

    def versions(self, response: bytes) -> list[VersionStatus]:
        """The versions in a GetModelStatusResponse."""
        versions = parse(GetModelStatusResponse, response, _DESCRIPTION).model_version_status
        if len(versions) > _MAX_VERSIONS:
            raise ServiceAnswerInvalid(f"The response has {len(versions)} versions; {_MAX_VERSIONS} are accepted.")
        return [_version(one) for one in versions]

    def metadata(self, selector: Selector) -> Rpc:
        """A GetModelMetadataRequest."""
        request = GetModelMetadataRequest(model_spec=self._spec(selector), metadata_field=[_METADATA_FIELD])
        return Rpc(METADATA, request.SerializeToString())

    def signatures(self, response: bytes) -> Signatures:
        """The signatures in a GetModelMetadataResponse."""
        return _signatures(parse(GetModelMetadataResponse, response, _DESCRIPTION))

    def readiness(self) -> tuple[Rpc]:
        """The health check of gRPC."""
        return (health.CHECK,)

    def reported_status(self, method: str, response: bytes) -> str:  # noqa: ARG002 - there is one method
        """The status in a HealthCheckResponse."""
        return health.health(response)

    @property
    def _the_model(self) -> ModelInterface:
        if self.model is None:
            raise RuntimeError("the service's metadata must be read first")
        return self.model

    def _spec(self, selector: Selector) -> ModelSpec:
        spec = ModelSpec(name=self._service.model)
        if selector.version is not None:
            spec.version.value = selector.version
        elif selector.label:
            spec.version_label = selector.label
        elif (chosen := self._service.model_version).isdecimal():
            spec.version.value = int(chosen)
        elif chosen:
            spec.version_label = chosen
        return spec

    def _read(self, response: bytes) -> Output:
        found = self._layouts.read(response)
        if found is None:
            found = _output(response, self._the_model.output_name)
            self._layouts.learn(response, found)
        return outputs.finite(found)


class PredictRequests:
    """Makes PredictRequests; implements :class:`shared.upstream.codecs.RequestTemplate`."""

    def __init__(self, spec: ModelSpec, input_name: str) -> None:
        self._head = field(1, spec.SerializeToString()) if spec.ByteSize() else b""
        self._input_name = field(1, input_name.encode())
        self._overhead = len(self.encoded([b""]))

    def room(self, message_bytes: int) -> int:
        """The bytes that a message of that many bytes leaves for an encoded image."""
        # The numbers that encode lengths grow with it by a few bytes.
        return message_bytes - self._overhead - 32

    def encoded(self, images: Sequence[bytes | memoryview]) -> bytes:
        """A request of image files: ``DT_STRING`` of shape ``[N]``."""
        parts: list[bytes | memoryview] = [_tensor_head(DT_STRING, (len(images),))]
        for image in images:
            parts += [_STRING_VAL, varint(len(image)), image]
        return self._around(parts)

    def numbers(self, datatype: Datatype, shape: tuple[int, ...], content: bytes | memoryview) -> bytes:
        """A request of values of a datatype, little-endian, row by row."""
        return self._around([_tensor_head(_DTYPES[datatype], shape), _TENSOR_CONTENT, varint(len(content)), content])

    def _around(self, tensor: list[bytes | memoryview]) -> bytes:
        tensor_size = sum(map(len, tensor))
        value_head = _VALUE + varint(tensor_size)
        entry_size = len(self._input_name) + len(value_head) + tensor_size
        entry_head = _INPUTS + varint(entry_size)
        return b"".join([self._head, entry_head, self._input_name, value_head, *tensor])


def _output(response: bytes, name: str) -> Output:
    answer = parse(PredictResponse, response, _OUTPUT)
    if name not in answer.outputs:
        names = listed(sorted(answer.outputs)) or "none"
        raise ServiceAnswerInvalid(f"The response has no output {name!r}; it has: {names}.")
    return Output(_floats(answer.outputs[name]), _version_of(answer))


def _version_of(answer: PredictResponse) -> int | None:
    return answer.model_spec.version.value if answer.model_spec.HasField("version") else None


def _floats(tensor: TensorProto) -> npt.NDArray[np.float32]:
    if tensor.dtype != DT_FLOAT:
        raise ServiceAnswerInvalid(
            f"The output's data type is number {tensor.dtype}; DT_FLOAT (1) is needed. OUTPUT=raw takes any."
        )
    rank = len(tensor.tensor_shape.dim)
    if rank > MAX_RANK:
        raise ServiceAnswerInvalid(f"The output's shape has {rank} dimensions; {MAX_RANK} are accepted.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content[: len(tensor.tensor_content) // 4 * 4], dtype="<f4")
    else:
        values = np.frombuffer(tensorflow_tensors.packed(tensor, "float_val", 4), "<f4")
    wanted = math.prod(shape) if shape and min(shape) >= 0 else -1
    if values.size == 1 and 1 < wanted <= MAX_VALUES:
        return np.full(shape, values[0])
    if not wanted:
        raise ServiceAnswerInvalid(f"The output is empty: its shape is {list(shape)}.")
    if values.size != wanted:
        raise ServiceAnswerInvalid(f"The output's shape {list(shape)} does not fit its {values.size} values.")
    return values.reshape(shape)


def _version(one: ModelVersionStatus) -> VersionStatus:
    code = one.status.error_code
    name = _STATUSES[code] if 0 <= code < len(_STATUSES) else "UNKNOWN"
    state = ModelVersionStatus.State.Name(one.state) if one.state in ModelVersionStatus.State.values() else "UNKNOWN"
    return VersionStatus(one.version, state, name, quoted(one.status.error_message, limit=400))


def _signatures(answer: GetModelMetadataResponse) -> Signatures:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - only metadata needs it

    packed = answer.metadata.get(_METADATA_FIELD)
    if packed is None or packed.type_url.rpartition("/")[2] != SignatureDefMap.DESCRIPTOR.full_name:
        raise ServiceAnswerInvalid(f"The response contains no {_METADATA_FIELD!r}.")
    definitions = parse(SignatureDefMap, packed.value, _DESCRIPTION)
    spec, map_ = (
        _with_printable_texts(
            MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        )
        for message in (answer.model_spec, definitions)
    )
    return Signatures(spec, map_["signature_def"])


def _description(signatures: Signatures, name: str) -> ModelMetadata:
    definition = signatures.definitions.get(name or DEFAULT_SIGNATURE)
    if definition is None:
        known = listed(sorted(signatures.definitions)) or "none"
        raise ServiceAnswerInvalid(f"The model has no signature {name or DEFAULT_SIGNATURE!r}; it has: {known}.")
    return ModelMetadata(_tensors(definition, "inputs"), _tensors(definition, "outputs"))


def _tensors(definition: Any, which: str) -> tuple[TensorMetadata, ...]:
    found = []
    for name, one in definition.get(which, {}).items():
        dtype, shape = str(one.get("dtype")), one.get("tensor_shape") or {"unknown_rank": True}
        sizes = None if shape.get("unknown_rank") else tuple(int(dim["size"]) for dim in shape.get("dim", ()))
        found.append(TensorMetadata(name, _DATATYPES.get(dtype, dtype), sizes))
    return tuple(found)


def _with_printable_texts(value: Any) -> Any:
    """A message in JSON form, whose names and texts are fit to be repeated. Its depth is that of the message's type."""
    if isinstance(value, dict):
        return {printable(name, _MAX_NAME): _with_printable_texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_printable_texts(one) for one in value]
    return printable(value, _MAX_NAME) if isinstance(value, str) else value


@functools.lru_cache(maxsize=64)
def _tensor_head(dtype: int, shape: tuple[int, ...]) -> bytes:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape]).SerializeToString()
    return tag(1, VARINT) + varint(dtype) + field(2, dims)


# The tags of the images and of the messages around them, by the names of their fields.
_INPUTS, _VALUE = tag(2, LENGTH), tag(2, LENGTH)
_TENSOR_CONTENT, _STRING_VAL = tag(4, LENGTH), tag(8, LENGTH)
