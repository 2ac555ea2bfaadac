"""The Open Inference Protocol (KServe's v2) over gRPC: Triton, KServe, MLServer, OpenVINO Model Server and others.

https://github.com/kserve/open-inference-protocol; requests are assembled by hand, for the reason in
:mod:`shared.upstream.codecs.tensorflow`. Tensors are sent as raw contents; responses may have raw or typed ones.
"""

import copy
import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protos.open_inference_pb2 import (
    InferTensorContents,
    ModelConfigRequest,
    ModelConfigResponse,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
)
from shared.errors import InvalidTensor, ServiceAnswerInvalid, UnknownVersion
from shared.quoting import listed, printable
from shared.settings import Datatype, OutputKind, ServiceSettings
from shared.upstream.codecs import health, outputs, tensors
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
from shared.upstream.codecs.model import ModelInterface, ModelMetadata, TensorMetadata
from shared.upstream.codecs.tensorflow import DEFAULT_SIGNATURE
from shared.upstream.codecs.wire import LENGTH, VARINT, field, tag, varint

_SERVICE = "/inference.GRPCInferenceService/"
INFER, READY = _SERVICE + "ModelInfer", _SERVICE + "ModelReady"
METADATA, CONFIG = _SERVICE + "ModelMetadata", _SERVICE + "ModelConfig"

# Bounds of the responses, as in TensorFlow Serving's codec; 64-bit outputs are the largest.
_OUTPUT = Bounds(size=8 * MAX_VALUES + 100_000, fields=10_000)
# Triton's configuration has some hundred fields, and may have files of labels and parameters in it.
_DESCRIPTION = Bounds(size=256 * 1024, fields=20_000)
_READY = Bounds(size=1024, fields=10)
_MAX_VERSIONS, _MAX_TENSORS, _MAX_NAME = 100, 100, 200

# The datatypes that scores may have: their form on the wire, and the field of typed contents.
_FLOATS = {"FP32": ("<f4", "fp32_contents"), "FP64": ("<f8", "fp64_contents"), "FP16": ("<f2", "")}
# The field of typed contents for each datatype; FP16 and BF16 have none.
_TYPED = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
# TensorFlow's names of datatypes, for the metadata in its form.
_DTYPES = {
    "BYTES": "DT_STRING",
    "FP16": "DT_HALF",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "BF16": "DT_BFLOAT16",
    **{f"{sign}INT{bits}": f"DT_{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}

# The tags of a request's parts, by the names of their fields.
_INPUTS, _RAW = tag(5, LENGTH), tag(7, LENGTH)


class OpenInferenceCodec:
    """Implements :class:`shared.upstream.codecs.Codec` for one service."""

    infer_method = INFER

    def __init__(self, service: ServiceSettings, model: ModelInterface | None = None) -> None:
        self._service = service
        self.model = model
        self._layouts = Layouts()

    def for_model(self, model: ModelInterface) -> "OpenInferenceCodec":
        """A codec of the same service for this model."""
        return OpenInferenceCodec(self._service, model)

    def requests(self, selector: Selector) -> "InferRequests":
        """The ModelInferRequests for a version; the protocol has no signatures.

        Raises:
            InvalidTensor, UnknownVersion: a signature or a label is requested.
        """
        if selector.signature not in {"", DEFAULT_SIGNATURE}:
            raise InvalidTensor(
                f"The model has no signature {printable(selector.signature, 40)!r}: it has none at all."
            )
        return InferRequests(self._service.model, self._version(selector), self._the_model)

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
        return _outputs(response, self._the_model)

    def check(self, response: bytes) -> None:
        """Check that the response is of the kind that the settings say."""
        read = self.outputs if self._service.output is OutputKind.RAW else self.classified
        read(response)

    def labelled(self, requests: RequestTemplate, classes: int) -> "InferRequests":
        """The requests, with Triton's classification extension."""
        assert isinstance(requests, InferRequests)  # noqa: S101 - this codec makes no others
        return requests.classifying(classes)

    def labels(self, response: bytes) -> list[str]:
        """The names in the elements ``value:index:label``; fewer where the service names fewer, or none."""
        (found,) = self.outputs(response).tensors
        names = dict[int, str]()
        for element in () if isinstance(found.values, np.ndarray) else found.values:
            _, index, name = (*printable(element.decode("utf-8", "replace"), _MAX_NAME).split(":", 2), "", "")[:3]
            if index.isascii() and index.isdecimal() and len(index) < 6 and name:
                names[int(index)] = name
        return [names[index] for index in range(len(names)) if index in names]

    def describe(self) -> tuple[Rpc, Rpc]:
        """Questions for the metadata, and for Triton's configuration."""
        name, version = self._service.model, self._service.model_version
        config = ModelConfigRequest(name=name, version=version).SerializeToString()
        return (self.metadata(Selector()), Rpc(CONFIG, config))

    def described(self, responses: Sequence[bytes | None]) -> ModelMetadata:
        """The inputs and outputs, and what Triton's configuration says of batches."""
        metadata, config = responses
        if metadata is None:
            raise ServiceAnswerInvalid("The service does not report its models' metadata.")
        answer = _metadata(metadata)
        # A limit of 0: Triton adds no dimension for batches, and the model's own first one has no limit.
        limit = parse(ModelConfigResponse, config, _DESCRIPTION).config.max_batch_size if config is not None else 0
        return ModelMetadata(_tensors(answer.inputs), _tensors(answer.outputs), limit if limit > 0 else None)

    def status(self, selector: Selector) -> Rpc:
        """The metadata has the versions that are loaded."""
        return self.metadata(selector)

    def versions(self, response: bytes) -> list[VersionStatus]:
        """The versions in a ModelMetadataResponse; none where the service does not report them."""
        versions = _metadata(response).versions
        if len(versions) > _MAX_VERSIONS:
            raise ServiceAnswerInvalid(f"The response has {len(versions)} versions; {_MAX_VERSIONS} are accepted.")
        return [VersionStatus(printable(one, _MAX_NAME), "AVAILABLE", "OK", "") for one in versions]

    def metadata(self, selector: Selector) -> Rpc:
        """A ModelMetadataRequest."""
        request = ModelMetadataRequest(name=self._service.model, version=self._version(selector))
        return Rpc(METADATA, request.SerializeToString())

    def signatures(self, response: bytes) -> Signatures:
        """The metadata in TensorFlow Serving's form, as the only signature."""
        answer = _metadata(response)
        spec = {"name": printable(answer.name, _MAX_NAME), "signature_name": "", "version": _version(answer.versions)}
        definition = {
            "inputs": _infos(_tensors(answer.inputs)),
            "outputs": _infos(_tensors(answer.outputs)),
            "method_name": "tensorflow/serving/predict",
        }
        return Signatures(spec, {DEFAULT_SIGNATURE: definition})

    def readiness(self) -> tuple[Rpc, Rpc]:
        """ModelReady, else the health check of gRPC."""
        request = ModelReadyRequest(name=self._service.model, version=self._service.model_version)
        return Rpc(READY, request.SerializeToString()), health.CHECK

    def reported_status(self, method: str, response: bytes) -> str:
        """``serving`` or ``not_serving``."""
        if method != READY:
            return health.health(response)
        return "serving" if parse(ModelReadyResponse, response, _READY).ready else "not_serving"

    @property
    def _the_model(self) -> ModelInterface:
        if self.model is None:
            raise RuntimeError("the service's metadata must be read first")
        return self.model

    def _version(self, selector: Selector) -> str:
        if selector.label:
            raise UnknownVersion("The service's protocol has no labels of versions.")
        return self._service.model_version if selector.version is None else str(selector.version)

    def _read(self, response: bytes) -> Output:
        found = self._layouts.read(response)
        if found is None:
            found = _output(response, self._the_model)
            self._layouts.learn(response, found)
        return outputs.finite(found)


class InferRequests:
    """Makes ModelInferRequests; implements :class:`shared.upstream.codecs.RequestTemplate`."""

    def __init__(self, model: str, version: str, interface: ModelInterface) -> None:
        self._interface = interface
        self._head = field(1, model.encode()) + (field(2, version.encode()) if version else b"")
        # Without a name, all outputs are returned.
        self._tail = field(6, field(1, interface.output_name.encode())) if interface.output_name else b""
        self._overhead = len(self.encoded([b""]))

    def classifying(self, classes: int) -> "InferRequests":
        """The same requests, for the best classes of the output with their names."""
        parameter = field(2, field(1, b"classification") + field(2, tag(2, VARINT) + varint(classes)))
        found = copy.copy(self)
        found._tail = field(6, field(1, self._interface.output_name.encode()) + parameter)  # noqa: SLF001 - its own
        return found

    def room(self, message_bytes: int) -> int:
        """The bytes that a message of that many bytes leaves for an encoded image."""
        # The numbers that encode lengths grow with it by a few bytes.
        return message_bytes - self._overhead - 32

    def encoded(self, images: Sequence[bytes | memoryview]) -> bytes:
        """A request of image files: BYTES, each after its length in four bytes."""
        elements = [part for image in images for part in (len(image).to_bytes(4, "little"), image)]
        return self._around(Datatype.BYTES, self._interface.shape(len(images)), elements)

    def numbers(self, datatype: Datatype, shape: tuple[int, ...], content: bytes | memoryview) -> bytes:
        """A request of values of a datatype, little-endian, row by row."""
        return self._around(datatype, shape, [content])

    def _around(self, datatype: Datatype, shape: tuple[int, ...], content: Sequence[bytes | memoryview]) -> bytes:
        tensor = _tensor_head(self._interface.input_name, datatype, shape)
        size = sum(map(len, content))
        return b"".join([self._head, _INPUTS, varint(len(tensor)), tensor, self._tail, _RAW, varint(size), *content])


@functools.lru_cache(maxsize=64)
def _tensor_head(name: str, datatype: Datatype, shape: tuple[int, ...]) -> bytes:
    return field(1, name.encode()) + field(2, datatype.encode()) + field(3, b"".join(map(varint, shape)))


def _metadata(response: bytes) -> ModelMetadataResponse:
    answer = parse(ModelMetadataResponse, response, _DESCRIPTION)
    if len(answer.inputs) > _MAX_TENSORS or len(answer.outputs) > _MAX_TENSORS:
        raise ServiceAnswerInvalid(f"The model has more than {_MAX_TENSORS} inputs or outputs.")
    return answer


def _tensors(found: Sequence[ModelMetadataResponse.TensorMetadata]) -> tuple[TensorMetadata, ...]:
    return tuple(TensorMetadata(one.name, one.datatype, tuple(one.shape[: MAX_RANK + 1])) for one in found)


def _infos(tensors: Sequence[TensorMetadata]) -> dict[str, object]:
    return {
        printable(one.name, _MAX_NAME): {
            "name": printable(one.name, _MAX_NAME),
            "dtype": _DTYPES.get(one.datatype, "DT_INVALID"),
            "tensor_shape": {
                "dim": [{"size": str(size), "name": ""} for size in one.shape or ()],
                "unknown_rank": False,
            },
        }
        for one in tensors
    }


def _version(versions: Sequence[str]) -> str | None:
    """The only version, where there is one."""
    return printable(versions[0], _MAX_NAME) if len(versions) == 1 else None


def _answer(response: bytes) -> ModelInferResponse:
    answer = parse(ModelInferResponse, response, _OUTPUT)
    raw = answer.raw_output_contents
    if raw and len(raw) != len(answer.outputs):
        raise ServiceAnswerInvalid(f"The response has {len(answer.outputs)} outputs and {len(raw)} contents.")
    return answer


def _output(response: bytes, model: ModelInterface) -> Output:
    answer = _answer(response)
    for index, one in enumerate(answer.outputs):
        if one.name == model.output_name:
            raw = answer.raw_output_contents
            values = _values(one, raw[index] if raw else None)
            version = printable(answer.model_version, _MAX_NAME) or None
            return Output(values if model.batched else values[np.newaxis], version)
    names = listed(sorted(one.name for one in answer.outputs)) or "none"
    raise ServiceAnswerInvalid(f"The response has no output {model.output_name!r}; it has: {names}.")


def _outputs(response: bytes, model: ModelInterface) -> Outputs:
    answer = _answer(response)
    raw = answer.raw_output_contents
    found = [
        tensors.tensor(one.name, one.datatype, one.shape, _content(one, raw[index] if raw else None))
        for index, one in enumerate(answer.outputs)
        if model.output_name in ("", one.name)
    ]
    version = printable(answer.model_version, _MAX_NAME) or None
    return tensors.outputs(found, model.output_name, version, batched=model.batched)


def _content(one: ModelInferResponse.InferOutputTensor, raw: bytes | None) -> bytes | list[bytes]:
    """A tensor's numbers as bytes, or its strings."""
    if one.datatype == tensors.BYTES:
        return list(one.contents.bytes_contents) if raw is None else tensors.strings(raw, one.name)
    if raw is not None or one.datatype not in _TYPED:
        return raw or b""
    name = _TYPED[one.datatype]
    if one.datatype in _FLOATS:
        return _packed(one.contents, name)
    try:
        return np.array(getattr(one.contents, name), tensors.FORMS[one.datatype]).tobytes()
    except OverflowError:
        raise ServiceAnswerInvalid(
            f"The output {printable(one.name, _MAX_NAME)!r} has values beyond {one.datatype}."
        ) from None


def _values(tensor: ModelInferResponse.InferOutputTensor, raw: bytes | None) -> npt.NDArray[np.float32]:
    if tensor.datatype not in _FLOATS:
        raise ServiceAnswerInvalid(
            f"The output's datatype is {printable(tensor.datatype, 20)}; one of {', '.join(_FLOATS)} is needed. "
            "OUTPUT=raw takes any."
        )
    shape = tuple(tensor.shape)
    if len(shape) > MAX_RANK:
        raise ServiceAnswerInvalid(f"The output's shape has {len(shape)} dimensions; {MAX_RANK} are accepted.")
    form, typed = _FLOATS[tensor.datatype]
    data = _packed(tensor.contents, typed) if raw is None else raw
    wanted = math.prod(shape) if not shape or min(shape) >= 0 else -1
    if not wanted:
        raise ServiceAnswerInvalid(f"The output is empty: its shape is {list(shape)}.")
    if len(data) != wanted * np.dtype(form).itemsize:
        raise ServiceAnswerInvalid(f"The output's shape {list(shape)} does not fit its {len(data)} bytes.")
    if wanted > MAX_VALUES:
        raise ServiceAnswerInvalid(f"The output has {wanted} values; {MAX_VALUES} are accepted.")
    with np.errstate(over="ignore"):  # what exceeds 32 bits is infinite, and refused as that
        return np.frombuffer(data, form).astype(np.float32, copy=False).reshape(shape)


def _packed(contents: InferTensorContents, name: str) -> bytes:
    """The values of a typed field as bytes: on the wire they are contiguous, and are read there at once."""
    if not name:
        raise ServiceAnswerInvalid("The output of FP16 has no raw contents, the only form that it can have.")
    size = len(getattr(contents, name)) * (4 if name == "fp32_contents" else 8)
    for other in InferTensorContents.DESCRIPTOR.fields_by_name:
        if other != name:
            contents.ClearField(other)
    contents.DiscardUnknownFields()
    wire = contents.SerializeToString()
    return wire[len(wire) - size :]
