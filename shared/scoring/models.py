"""One service as a model that inference protocols call: tensors in, the service's own output out, unranked.

Image files are treated as for labels: forwarded unchanged where the service decodes them, otherwise re-encoded or
decoded here. Numbers are passed through unchanged.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from shared.errors import (
    InvalidTensor,
    MessageTooLarge,
    MethodNotOffered,
    ServiceAnswerInvalid,
    ServiceAnswerNotFinite,
    ServiceRejected,
    UnknownVersion,
)
from shared.scoring import labels
from shared.scoring.scorer import Scorer, check_count
from shared.scoring.types import Ranking, Upload
from shared.settings import Datatype, Limits
from shared.telemetry import RequestContext
from shared.upstream.causes import MESSAGE_TOO_LARGE
from shared.upstream.codecs import (
    MAX_CLASSES,
    MAX_RANK,
    MAX_VALUES,
    Codec,
    EncodedImages,
    FloatTensor,
    ModelInterface,
    Output,
    Outputs,
    RequestTemplate,
    Selector,
    Signatures,
    TensorMetadata,
    VersionStatus,
    tensors,
)
from shared.upstream.service import Upstream

# The statuses of a request whose content the service refuses.
_BAD_CONTENT = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"})


class _Calls[T: (Output, Outputs)](NamedTuple):
    """How the images of a tensor are scored, and how a response to numbers is read."""

    score: Callable[[Sequence[Upload], Selector, RequestContext], Awaitable[list[T]]]
    read: Callable[[Codec, bytes, int], T]


class Model:
    """Calls one service as a model with one input; :meth:`predict` is about one output, :meth:`outputs` about all."""

    def __init__(self, upstream: Upstream, scorer: Scorer, limits: Limits) -> None:
        self._upstream = upstream
        self._service = upstream.settings
        self._codec = upstream.codec
        self._scorer = scorer
        self._limits = limits

    async def interface(self, context: RequestContext) -> ModelInterface:
        """What the model takes and returns.

        Raises:
            GatewayError: that is not known, and why.
        """
        model = (await self._model_codec(context)).model
        assert model is not None  # noqa: S101 - for the type checker
        return model

    async def predict(self, tensor: EncodedImages | FloatTensor, selector: Selector, context: RequestContext) -> Output:
        """The service's output for a tensor, ``[N, ...]``.

        Raises:
            InvalidTensor: the tensor, or the requested signature, does not fit the model.
            UnknownVersion: the service does not serve the requested version.
            Overloaded: too many images are in progress.
            DeadlineExceeded: the request's deadline passed.
            GatewayError: any other cause; of several images the first one's, with the member ``index``.
        """

        def read(codec: Codec, response: bytes, rows: int) -> Output:
            return codec.output(response, rows)

        results = await self._results(tensor, selector, context, _Calls(self._scorer.outputs, read))
        return _joined([result for result, _ in results])

    async def outputs(
        self, tensor: EncodedImages | FloatTensor, selector: Selector, context: RequestContext
    ) -> Outputs:
        """As :meth:`predict`: all of the service's outputs, of any datatype and shape."""

        def read(codec: Codec, response: bytes, _: int) -> Outputs:
            return codec.outputs(response)

        results = await self._results(tensor, selector, context, _Calls(self._scorer.raw, read))
        if len(results) == 1:
            return results[0][0]
        return tensors.joined([row for result, rows in results for row in tensors.rows(result, rows)])

    async def _results[T: (Output, Outputs)](
        self, tensor: EncodedImages | FloatTensor, selector: Selector, context: RequestContext, calls: "_Calls[T]"
    ) -> list[tuple[T, int]]:
        """The results of as many calls as it takes, and how many images each is for."""
        codec = await self._model_codec(context)
        try:
            if isinstance(tensor, EncodedImages):
                return await self._images(tensor, selector, context, calls)
            return await self._floats(tensor, codec, selector, context, calls)
        except ServiceRejected as error:
            _attribute(error, selector, numbers=isinstance(tensor, FloatTensor))
        except ServiceAnswerNotFinite as error:
            # Only now: all the numbers of an input that the service can use need not be looked at.
            if _is_not_finite(tensor):
                name = (await self.interface(context)).input_name
                raise InvalidTensor(f"Input {name!r} contains NaN or infinity, and so does the output.") from error
            raise
        except TimeoutError:
            raise context.deadline_exceeded() from None

    async def status(self, selector: Selector, context: RequestContext) -> list[VersionStatus]:
        """The model's versions and their states, as the service reports them.

        Raises:
            UnknownVersion: the service does not serve the requested version.
            MethodNotOffered: the service does not report the status of models.
            GatewayError: any other cause.
        """
        try:
            response = await self._upstream.client.call(*self._codec.status(selector), context)
        except ServiceRejected as error:
            _attribute(error, selector, question="the status of models")
        return self._codec.versions(response)

    async def signatures(self, selector: Selector, context: RequestContext) -> Signatures:
        """The model's inputs and outputs, as the service reports them.

        Raises:
            UnknownVersion: the service does not serve the requested version.
            MethodNotOffered: the service does not report the metadata of models.
            GatewayError: any other cause.
        """
        try:
            response = await self._upstream.client.call(*self._codec.metadata(selector), context)
        except ServiceRejected as error:
            _attribute(error, selector, question="the metadata of models")
        return self._codec.signatures(response)

    async def reported_outputs(self, context: RequestContext) -> Sequence[TensorMetadata]:
        """The outputs of the model that the settings choose, as the service reports them; errors as above."""
        try:
            response = await self._upstream.client.call(*self._codec.describe()[0], context)
        except ServiceRejected as error:
            _attribute(error, Selector(), question="the metadata of models")
        return self._codec.described([response]).outputs

    async def best(self, output: Output, count: int, context: RequestContext) -> list[list[str]]:
        """The ``count`` highest values of each row, highest first, each as ``value:index:label``.

        That is the form of the Open Inference Protocol's classification; a class without a name has no label.
        """
        ranking = Ranking(top=count, threshold=-math.inf)
        rows: npt.NDArray[np.float32] = output.values.reshape(len(output.values), -1)
        if rows.shape[1] > MAX_CLASSES:
            raise ServiceAnswerInvalid(f"The output has {rows.shape[1]} classes; {MAX_CLASSES} are accepted.")
        names = await self._scorer.names(await self._model_codec(context), context)
        named = len(names)
        return [
            [
                f"{one.score:f}:{one.id}:{one.label}" if one.id < named else f"{one.score:f}:{one.id}"
                for one in labels.rank(row, names, ranking)
            ]
            for row in rows
        ]

    async def _model_codec(self, context: RequestContext) -> Codec:
        try:
            return await self._upstream.model_codec(context)
        except TimeoutError:
            raise context.deadline_exceeded() from None

    async def _images[T: (Output, Outputs)](
        self, tensor: EncodedImages, selector: Selector, context: RequestContext, calls: "_Calls[T]"
    ) -> list[tuple[T, int]]:
        name = (await self.interface(context)).input_name
        self._check_rows(len(tensor.files), name)
        uploads = [Upload(f"{name}[{index}]", data) for index, data in enumerate(tensor.files)]
        return [(result, 1) for result in await calls.score(uploads, selector, context)]

    async def _floats[T: (Output, Outputs)](
        self, tensor: FloatTensor, codec: Codec, selector: Selector, context: RequestContext, calls: "_Calls[T]"
    ) -> list[tuple[T, int]]:
        """As few messages as the service accepts, one after the other: it scores one image at a time anyway."""
        requests, model = codec.requests(selector), codec.model
        assert model is not None  # noqa: S101 - for the type checker
        self._check_shape(tensor.shape, model)
        datatype = Datatype.FP32 if model.takes_files else model.datatype
        rows = tensor.shape[0]
        shape: tuple[int, ...] = tensor.shape[1:]
        content = memoryview(tensor.content)
        if tensor.datatype is not datatype:
            content = _as_datatype(content, datatype, model.input_name)
        size = len(content) // rows
        together = self._rows_in_a_message(requests, datatype, shape, size)
        if self._upstream.discovery is not None:
            together = min(together, model.max_batch)
        results: list[tuple[T, int]] = []
        with self._upstream.admission.permit(rows, context):
            for start in range(0, rows, together):
                count = min(together, rows - start)
                sent: tuple[int, ...] = (count, *shape) if model.batched else shape
                request = requests.numbers(datatype, sent, content[start * size : (start + count) * size])
                results.append((calls.read(codec, await self._upstream.infer(request, context, count), count), count))
        if selector == Selector():
            self._upstream.answered(results[-1][0].version)
        return results

    def _rows_in_a_message(
        self, requests: RequestTemplate, datatype: Datatype, shape: tuple[int, ...], size: int
    ) -> int:
        # The encoded lengths grow with the content, by a few bytes in each of four places.
        head = len(requests.numbers(datatype, (self._limits.images, *shape), b"")) + 32
        together = (self._service.max_message_bytes - head) // size
        if not together:
            raise MessageTooLarge(MESSAGE_TOO_LARGE)
        return together

    def _check_rows(self, rows: int, name: str) -> None:
        if not rows:
            raise InvalidTensor(f"Input {name!r} is empty; at least one image is expected.")
        check_count(rows, self._limits)

    def _check_shape(self, shape: tuple[int, ...], model: ModelInterface) -> None:
        """Refuse what the service cannot accept.

        The settings describe the pictures of a service that gets tensors from the gateway. What other services accept
        besides files is not known here; they refuse it themselves.
        """
        name, expected = model.input_name, model.pixel_shape
        if not model.takes_files and shape[1:] != expected:
            raise InvalidTensor(f"Input {name!r} has the shape {_text(shape)}; [N,{_text(expected)[1:]} is expected.")
        if not 1 <= len(shape) <= MAX_RANK:
            raise InvalidTensor(
                f"Input {name!r} has {len(shape)} dimensions; 1 (that of the images) to {MAX_RANK} are expected."
            )
        self._check_rows(shape[0], name)
        if 0 in shape:
            raise InvalidTensor(f"Input {name!r} is empty: its shape is {_text(shape)}.")


def _attribute(error: ServiceRejected, selector: Selector, *, numbers: bool = False, question: str = "") -> NoReturn:
    """Decide whether the caller caused a refusal, by what it chose, or the settings.

    Raises:
        UnknownVersion: the caller requested a version, and it was not found.
        InvalidTensor: the caller named a signature, or sent numbers that are not checked here.
        MethodNotOffered: the service does not have the method.
        ServiceRejected: ``error``, in any other case.
    """
    if error.code == "NOT_FOUND" and (selector.version is not None or selector.label):
        raise UnknownVersion(error.detail) from error
    if error.code in _BAD_CONTENT and (numbers or selector.signature):
        raise InvalidTensor(error.detail) from error
    if error.code == "UNIMPLEMENTED" and question:
        raise MethodNotOffered(f"The inference service does not report {question}.") from error
    raise error


def _as_datatype(content: memoryview, datatype: Datatype, name: str) -> memoryview:
    """The values of a tensor of float32 in the model's datatype.

    Raises:
        InvalidTensor: they are not whole numbers from 0 to 255, where UINT8 are needed.
    """
    if datatype is Datatype.FP32:
        return content
    values = np.frombuffer(content, "<f4")
    if datatype is Datatype.FP16:
        with np.errstate(over="ignore"):
            return values.astype("<f2").data.cast("B")
    with np.errstate(invalid="ignore"):
        bytes_ = values.astype(np.uint8)
    if not np.array_equal(bytes_, values):
        raise InvalidTensor(f"Input {name!r} has values other than whole numbers from 0 to 255, which UINT8 can hold.")
    return bytes_.data.cast("B")


def _is_not_finite(tensor: EncodedImages | FloatTensor) -> bool:
    if isinstance(tensor, EncodedImages) or tensor.datatype is not Datatype.FP32:
        return False
    return not np.isfinite(np.frombuffer(tensor.content, "<f4")).all()


def _joined(outputs: Sequence[Output]) -> Output:
    values = sum(output.values.size for output in outputs)
    if values > MAX_VALUES:
        raise ServiceAnswerInvalid(f"The outputs have {values} values in all; {MAX_VALUES} are accepted.")
    if len(outputs) == 1:
        return outputs[0]
    shapes = {output.values.shape[1:] for output in outputs}
    if len(shapes) > 1:
        raise ServiceAnswerInvalid(f"The outputs of one request differ in shape: {sorted(shapes)[:5]}.")
    return Output(np.concatenate([output.values for output in outputs]), outputs[0].version)


def _text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
