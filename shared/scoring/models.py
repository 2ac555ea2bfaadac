"""One service as a model that inference protocols call: tensors in, the service's own output out, unranked.

What comes as image files takes the same way as for labels: forwarded as it came where the service decodes, otherwise
made anew or decoded here. What comes as numbers passes through as it is.
"""

import math
from collections.abc import Sequence
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError, Message

from protos.serving_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelSpec,
    ModelVersionStatus,
    SignatureDefMap,
)
from shared.admission import Admission
from shared.errors import (
    DeadlineExceeded,
    MessageTooLarge,
    ServiceAnswerInvalid,
    ServiceRejected,
    TooManyImages,
)
from shared.scoring import labels
from shared.scoring.model_types import (
    Files,
    Floats,
    MethodMissing,
    Selector,
    Signatures,
    TensorRefused,
    VersionStatus,
    VersionUnknown,
)
from shared.scoring.scorer import DOING, Scorer
from shared.scoring.tensors import AnswerReader, Output, RequestTemplate, model_spec
from shared.scoring.types import Ranking, Upload
from shared.settings import InputForm, Limits, ServiceSettings
from shared.telemetry import Call

# What a service is asked to tell of itself: the only field that TensorFlow Serving knows.
_METADATA_FIELD = "signature_def"

# gRPC's statuses by number: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
_STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_UNFIT = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"})

# A tensor of more dimensions is no picture, and its head would be long.
_MAX_RANK = 8


class Calls(Protocol):
    """The service's methods: serialized messages in and out."""

    async def predict(self, request: bytes, call: Call) -> bytes: ...

    async def model_metadata(self, request: bytes, call: Call) -> bytes: ...

    async def model_status(self, request: bytes, call: Call) -> bytes: ...


class Model:
    """Calls one service as a model with one input and one output."""

    def __init__(
        self, service: ServiceSettings, limits: Limits, calls: Calls, scorer: Scorer, admission: Admission
    ) -> None:
        self._service = service
        self._limits = limits
        self._calls = calls
        self._scorer = scorer
        self._admission = admission
        self._names = labels.load(service.labels)
        self._answers = AnswerReader(service.output_name)
        self._default = self._requests_for(Selector())

    async def predict(self, tensor: Files | Floats, selector: Selector, call: Call) -> Output:
        """The service's output for a tensor, ``[N, ...]``.

        Raises:
            TensorRefused: the tensor, or the signature that was asked for, does not fit the model.
            VersionUnknown: the version that was asked for is not there.
            Overloaded: too many images are under way.
            DeadlineExceeded: the call's deadline passed.
            GatewayError: any other cause; of several images the first one's, with the member ``index``.
        """
        requests = self._default if selector == Selector() else self._requests_for(selector)
        try:
            if isinstance(tensor, Files):
                return await self._files(tensor, requests, call)
            return await self._floats(tensor, requests, call)
        except ServiceRejected as error:
            _blame(error, selector, numbers=isinstance(tensor, Floats))
        except TimeoutError:
            raise DeadlineExceeded(f"The deadline passed while {DOING[call.timings.latest]}.") from None

    async def status(self, selector: Selector, call: Call) -> list[VersionStatus]:
        """The model's versions and their states, as the service tells them.

        Raises:
            VersionUnknown: the version that was asked for is not there.
            MethodMissing: the service does not offer GetModelStatus.
            GatewayError: any other cause.
        """
        request = GetModelStatusRequest(model_spec=self._spec(selector))
        try:
            answer = await self._calls.model_status(request.SerializeToString(), call)
        except ServiceRejected as error:
            _blame(error, selector, method="GetModelStatus")
        return [_version(one) for one in _read(GetModelStatusResponse, answer).model_version_status]

    async def signatures(self, selector: Selector, call: Call) -> Signatures:
        """What the model takes and gives, as the service tells it.

        Raises:
            VersionUnknown: the version that was asked for is not there.
            MethodMissing: the service does not offer GetModelMetadata.
            GatewayError: any other cause.
        """
        request = GetModelMetadataRequest(model_spec=self._spec(selector), metadata_field=[_METADATA_FIELD])
        try:
            answer = await self._calls.model_metadata(request.SerializeToString(), call)
        except ServiceRejected as error:
            _blame(error, selector, method="GetModelMetadata")
        return _signatures(_read(GetModelMetadataResponse, answer))

    def best(self, output: Output, count: int) -> list[list[str]]:
        """The ``count`` highest values of each row, highest first, each as ``value:index:label``.

        That is the form of the Open Inference Protocol's classification; a class without a name has no label.
        """
        how = Ranking(top=count, threshold=-math.inf)
        rows: npt.NDArray[np.float32] = output.values.reshape(len(output.values), -1)
        known = len(self._names)
        return [
            [
                f"{one.score:f}:{one.id}:{one.label}" if one.id < known else f"{one.score:f}:{one.id}"
                for one in labels.rank(row, self._names, how)
            ]
            for row in rows
        ]

    async def _files(self, tensor: Files, requests: RequestTemplate, call: Call) -> Output:
        name = self._service.input_name
        self._check_rows(len(tensor.data))
        uploads = [Upload(f"{name}[{index}]", data) for index, data in enumerate(tensor.data)]
        return _joined(await self._scorer.outputs(uploads, requests, call))

    async def _floats(self, tensor: Floats, requests: RequestTemplate, call: Call) -> Output:
        """As few messages as the service takes, one after the other: it works on one image at a time anyway."""
        self._check_shape(tensor.shape)
        rows, shape, content = tensor.shape[0], tensor.shape[1:], memoryview(tensor.content)
        size = len(content) // rows
        together = self._rows_in_a_message(requests, shape, size)
        outputs = []
        with self._admission.place(rows, call):
            for start in range(0, rows, together):
                count = min(together, rows - start)
                request = requests.floats((count, *shape), content[start * size : (start + count) * size])
                outputs.append(self._answers.output(await self._calls.predict(request, call), count))
        return _joined(outputs)

    def _rows_in_a_message(self, requests: RequestTemplate, shape: tuple[int, ...], size: int) -> int:
        # Lengths grow with the content, by a few bytes for each of the four places that tell one.
        head = len(requests.floats((self._limits.images, *shape), b"")) + 32
        together = (self._service.max_message_bytes - head) // size
        if not together:
            raise MessageTooLarge("The request is larger than the messages that the service takes.")
        return together

    def _check_rows(self, rows: int) -> None:
        if not rows:
            raise TensorRefused(f"Input {self._service.input_name!r} is empty; at least one image is expected.")
        if rows > self._limits.images:
            raise TooManyImages(
                f"The request holds {rows} images; {self._limits.images} are allowed.", limit=self._limits.images
            )

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what the service cannot take.

        The settings know the pictures of a service that gets tensors from the gateway. What other services take besides
        files they know alone; they refuse what does not fit in their own words.
        """
        name, size = self._service.input_name, self._service.preprocessing.size
        if self._service.input_form is InputForm.TENSOR and shape[1:] != (size, size, 3):
            raise TensorRefused(f"Input {name!r} has the shape {_text(shape)}; [N,{size},{size},3] is expected.")
        if not 1 <= len(shape) <= _MAX_RANK:
            raise TensorRefused(
                f"Input {name!r} has {len(shape)} dimensions; from 1, that of the images, to {_MAX_RANK} are expected."
            )
        self._check_rows(shape[0])
        if 0 in shape:
            raise TensorRefused(f"Input {name!r} is empty: its shape is {_text(shape)}.")

    def _requests_for(self, selector: Selector) -> RequestTemplate:
        return RequestTemplate(
            model=self._service.model,
            signature=selector.signature or self._service.signature,
            input_name=self._service.input_name,
            version=selector.version,
            version_label=selector.label,
        )

    def _spec(self, selector: Selector) -> ModelSpec:
        return model_spec(model=self._service.model, version=selector.version, version_label=selector.label)


def _blame(error: ServiceRejected, selector: Selector, *, numbers: bool = False, method: str = "") -> NoReturn:
    """Whose doing a refusal is: the caller's where it chose what was refused, or else that of the settings.

    Raises:
        VersionUnknown: the caller asked for a version, and it was not found.
        TensorRefused: the caller named a signature, or sent numbers that nobody here looked at.
        MethodMissing: the service does not have the method.
        ServiceRejected: ``error``, in any other case.
    """
    if error.code == "NOT_FOUND" and (selector.version is not None or selector.label):
        raise VersionUnknown(error.detail) from error
    if error.code in _UNFIT and (numbers or selector.signature):
        raise TensorRefused(error.detail) from error
    if error.code == "UNIMPLEMENTED" and method:
        raise MethodMissing(f"The inference service does not offer {method}.") from error
    raise error


def _joined(outputs: Sequence[Output]) -> Output:
    if len(outputs) == 1:
        return outputs[0]
    shapes = {output.values.shape[1:] for output in outputs}
    if len(shapes) > 1:
        raise ServiceAnswerInvalid(f"The outputs of one request differ in shape: {sorted(shapes)}.")
    return Output(np.concatenate([output.values for output in outputs]), outputs[0].version)


def _read[M: Message](kind: type[M], answer: bytes) -> M:
    try:
        return kind.FromString(answer)
    except DecodeError as error:
        raise ServiceAnswerInvalid(f"The answer is no {kind.DESCRIPTOR.name}.") from error


def _version(one: ModelVersionStatus) -> VersionStatus:
    code = one.status.error_code
    name = _STATUSES[code] if 0 <= code < len(_STATUSES) else "UNKNOWN"
    state = ModelVersionStatus.State.Name(one.state) if one.state in ModelVersionStatus.State.values() else "UNKNOWN"
    return VersionStatus(one.version, state, name, one.status.error_message)


def _signatures(answer: GetModelMetadataResponse) -> Signatures:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - metadata alone has a use for it

    definitions = SignatureDefMap()
    packed = answer.metadata.get(_METADATA_FIELD)
    try:
        if packed is None or not packed.Unpack(definitions):
            raise ServiceAnswerInvalid(f"The answer holds no {_METADATA_FIELD!r}.")
    except DecodeError as error:
        raise ServiceAnswerInvalid(f"The answer's {_METADATA_FIELD!r} is no SignatureDefMap.") from error
    spec, told = (
        MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for message in (answer.model_spec, definitions)
    )
    return Signatures(spec, told["signature_def"])


def _text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
