"""Scores images with one service: prepare, predict, rank.

Each image is a call of its own where the service scores one at a time anyway: so the first is scored while the next is
still being decoded, no message grows with the number of files, and replicas share the work. Where the model takes
several at once, they share calls.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import (
    DeadlineExceeded,
    GatewayError,
    ImageTooLarge,
    ServiceAnswerInvalid,
    ServiceRejected,
    TooManyImages,
)
from shared.scoring import images, labels
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.work import Content, ToFile, ToTensor
from shared.scoring.types import Prediction, Ranking, Upload
from shared.settings import Limits, Metadata, OutputForm
from shared.telemetry import DECODE, RequestContext, metrics
from shared.upstream.codecs import Codec, ModelInterface, Output, RequestTemplate, Selector
from shared.upstream.codecs.outputs import classified
from shared.upstream.service import Upstream

_DEFAULT = Selector()

# The encoded length of an image in a request, and more.
_ELEMENT_BYTES = 16


@dataclass(frozen=True)
class _Job[T]:
    """What is done for each image of a request: how its request is made, and what becomes of the response.

    ``requests`` are of ``codec``, for what ``selector`` chooses; ``row`` is :attr:`read` for one row of an output.
    """

    codec: Codec
    selector: Selector
    requests: RequestTemplate
    read: Callable[[Codec, Upload, bytes], T]
    row: Callable[[Upload, Output], T]

    @property
    def model(self) -> ModelInterface:
        assert self.codec.model is not None  # noqa: S101 - for the type checker: it is known once a codec makes requests
        return self.codec.model


class Scorer:
    """Scores with one service; ``executor`` has the threads that decode its small images."""

    def __init__(self, upstream: Upstream, limits: Limits, decoder: Decoder, executor: Executor) -> None:
        self._upstream = upstream
        self._service = upstream.settings
        self._limits = limits
        self._decoder = decoder
        self._executor = executor
        self._names = labels.load(self._service.labels)
        self._default: tuple[Codec, RequestTemplate] | None = None

    async def score(self, uploads: Sequence[Upload], ranking: Ranking, context: RequestContext) -> list[Prediction]:
        """Score the images, in their order; all or none.

        Raises:
            Overloaded: too many images are in progress.
            DeadlineExceeded: the request's deadline passed.
            GatewayError: the first image's fault, with the members ``file`` and ``index``; or the service's.
        """
        return await self._each(uploads, await self._predictions(ranking, context), context)

    async def score_partially(
        self, uploads: Sequence[Upload], ranking: Ranking, context: RequestContext
    ) -> list[Prediction | GatewayError]:
        """Score the images, in their order; in the place of one that cannot be scored, why.

        Raises:
            GatewayError: none could be scored, for a reason that is not in the images; or too many were sent.
        """
        check_count(len(uploads), self._limits)
        job = await self._predictions(ranking, context)
        with self._upstream.admission.permit(len(uploads), context):
            tasks = [
                asyncio.ensure_future(self._one(upload, job, context.for_image(len(uploads)))) for upload in uploads
            ]
            async with _cancelled_at_end(tasks):
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        results: list[Prediction | GatewayError] = []
        for result in ended:
            if isinstance(result, BaseException) and not isinstance(result, GatewayError):
                raise result
            results.append(result)
        if all(isinstance(result, GatewayError) for result in results):
            for result in results:
                if isinstance(result, GatewayError) and result.is_server_fault:
                    raise result
        return results

    async def outputs(self, uploads: Sequence[Upload], selector: Selector, context: RequestContext) -> list[Output]:
        """The service's own output for each image, ``[1, ...]``, neither ranked nor named; otherwise as :meth:`score`.

        ``selector`` chooses the version and signature of the model.
        """

        def output(codec: Codec, _: Upload, response: bytes) -> Output:
            return codec.output(response, 1)

        def row(_: Upload, output: Output) -> Output:
            return output

        codec = await self._codec(context)
        job = _Job(codec, selector, self._requests(codec, selector), output, row)
        return await self._each(uploads, job, context)

    async def _codec(self, context: RequestContext) -> Codec:
        try:
            return await self._upstream.model_codec(context)
        except TimeoutError:
            raise context.deadline_exceeded() from None

    def _requests(self, codec: Codec, selector: Selector) -> RequestTemplate:
        """The requests for a selector; the default ones are made once for a codec."""
        if selector != _DEFAULT:
            return codec.requests(selector)
        if self._default is None or self._default[0] is not codec:
            self._default = codec, codec.requests(selector)
        return self._default[1]

    async def _predictions(self, ranking: Ranking, context: RequestContext) -> _Job[Prediction]:
        def prediction(codec: Codec, upload: Upload, response: bytes) -> Prediction:
            return self._prediction(upload.name, codec.classified(response), ranking)

        def row(upload: Upload, output: Output) -> Prediction:
            return self._prediction(upload.name, classified(output), ranking)

        codec = await self._codec(context)
        return _Job(codec, _DEFAULT, self._requests(codec, _DEFAULT), prediction, row)

    async def _each[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        check_count(len(uploads), self._limits)
        for index, upload in enumerate(uploads):
            fault = self._fault(upload)
            if fault is not None:
                raise _named(fault, upload, index)
        with self._upstream.admission.permit(len(uploads), context):
            if len(uploads) > 1:
                together = self._batched if job.model.max_batch > 1 else self._all
                return await together(uploads, job, context)
            try:
                return [await self._one(uploads[0], job, context)]
            except GatewayError as error:
                _named(error, uploads[0], 0)
                raise

    async def _all[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        return await _gathered(uploads, lambda upload: self._one(upload, job, context.for_image(len(uploads))))

    async def _batched[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        """As few calls as the model and its service accept."""
        contents = await _gathered(
            uploads, lambda upload: self._content(upload.data, job, context.for_image(len(uploads)))
        )
        room = job.requests.room(self._service.max_message_bytes)
        groups = batches([len(content) for content in contents], job.model.max_batch, room)
        tasks = [
            asyncio.ensure_future(self._batch(uploads[part], contents[part], job, context.for_image(len(uploads))))
            for part in groups
        ]
        async with _cancelled_at_end(tasks):
            try:
                return [result for results in await asyncio.gather(*tasks) for result in results]
            except TimeoutError:
                raise context.deadline_exceeded() from None
            except (ServiceRejected, ServiceAnswerInvalid):
                pass
        # The service does not say which image it rejects, and the model may have changed: each one by itself.
        return await self._all(uploads, job, context)

    async def _content(self, data: bytes, job: _Job[Any], context: RequestContext) -> bytes:
        """What of a request is for one image."""
        with context.timings.measure(DECODE):
            room = job.requests.room(self._service.max_message_bytes)
            if job.model.takes_files and (image := self._forwardable(data, room)):
                return image
            work = self._to_file(job, room) if job.model.takes_files else self._to_tensor(job)
            return await self._decoder.run(work, data, bytes, self._executor, context)

    async def _batch[T](
        self, uploads: Sequence[Upload], contents: Sequence[bytes], job: _Job[T], context: RequestContext
    ) -> list[T]:
        model = job.model
        if model.takes_files:
            request = job.requests.encoded(contents)
        else:
            request = job.requests.numbers(model.datatype, model.shape(len(uploads)), b"".join(contents))
        output = job.codec.output(await self._upstream.infer(request, context, len(uploads)), len(uploads))
        rows = (Output(output.values[index : index + 1], output.version) for index in range(len(uploads)))
        return [job.row(upload, row) for upload, row in zip(uploads, rows, strict=True)]

    def _fault(self, upload: Upload) -> GatewayError | None:
        """Why an image cannot be scored, as far as that is known without looking into it."""
        if len(upload.data) > self._limits.image_bytes:
            return ImageTooLarge(
                f"The image has {len(upload.data)} bytes; {self._limits.image_bytes} are allowed.",
                limit=self._limits.image_bytes,
                unit="bytes",
            )
        return upload.fault

    async def _one[T](self, upload: Upload, job: _Job[T], context: RequestContext) -> T:
        fault = self._fault(upload)
        if fault is not None:
            raise fault
        try:
            return await self._scored(upload, job, context)
        except (ServiceRejected, ServiceAnswerInvalid) as error:
            changed = await self._changed(job, context)
            if changed is not None:
                return await self._scored(upload, changed, context)
            if isinstance(error, ServiceRejected):
                await self._check_image(upload.data, job, context)
            raise
        except TimeoutError:
            raise context.deadline_exceeded() from None

    async def _scored[T](self, upload: Upload, job: _Job[T], context: RequestContext) -> T:
        with context.timings.measure(DECODE):
            request = await self._request(upload.data, job, context)
        return job.read(job.codec, upload, await self._upstream.infer(request, context))

    async def _changed[T](self, job: _Job[T], context: RequestContext) -> _Job[T] | None:
        """The job for the model as it is now, where the service has another one since it was described."""
        discovery = self._upstream.discovery
        codec = None if discovery is None else await discovery.changed(job.codec, context)
        return None if codec is None else replace(job, codec=codec, requests=self._requests(codec, job.selector))

    async def _request(self, data: bytes, job: _Job[Any], context: RequestContext) -> bytes:
        requests, model = job.requests, job.model
        if not model.takes_files:

            def request(tensor: Content) -> bytes:
                return requests.numbers(model.datatype, model.shape(1), tensor)

            return await self._decoder.run(self._to_tensor(job), data, request, self._executor, context)
        room = requests.room(self._service.max_message_bytes)
        if image := self._forwardable(data, room):
            return requests.encoded([image])
        work = self._to_file(job, room)
        return await self._decoder.run(work, data, lambda file: requests.encoded([file]), self._executor, context)

    def _forwardable(self, data: bytes, room: int) -> bytes | None:
        keep = self._service.metadata is Metadata.KEEP
        found = images.forwardable(data, self._limits.image_pixels, room, keep_metadata=keep)
        if found is not None:
            metrics.IMAGES.add((self._service.name, "forwarded"))
        return found

    def _to_file(self, job: _Job[Any], room: int) -> ToFile:
        metrics.IMAGES.add((self._service.name, "decoded"))
        return ToFile(job.model.preprocessing, self._limits.image_pixels, room)

    def _to_tensor(self, job: _Job[Any]) -> ToTensor:
        model = job.model
        metrics.IMAGES.add((self._service.name, "decoded"))
        return ToTensor(model.preprocessing, self._limits.image_pixels, model.datatype, model.layout)

    async def _check_image(self, data: bytes, job: _Job[Any], context: RequestContext) -> None:
        """Decode a forwarded image that the service rejected: it may be broken.

        Raises:
            GatewayError: it is.
        """
        if job.model.takes_files:
            work = ToTensor(job.model.preprocessing, self._limits.image_pixels)
            await self._decoder.run(work, data, bytes, self._executor, context)

    def _prediction(self, file: str, output: Output, ranking: Ranking) -> Prediction:
        scores = output.values
        version = None if output.version is None else str(output.version)
        if self._upstream.discovery is not None:
            self._upstream.discovery.answered(output.version)
        if self._service.output_form is OutputForm.LOGITS:
            scores = labels.softmax(scores)
        ranked = labels.rank(scores, self._names, ranking)
        everything = [round(score, 6) for score in scores.tolist()] if ranking.top == 0 else None
        return Prediction(file, ranked, everything, version)


async def _gathered[T](uploads: Sequence[Upload], work: Callable[[Upload], Coroutine[Any, Any, T]]) -> list[T]:
    """What the work gives for each image; a failure names the image that it is about."""
    tasks = [asyncio.ensure_future(work(upload)) for upload in uploads]
    # The others must not go on after one failed, or after the client disconnected.
    async with _cancelled_at_end(tasks):
        try:
            return await asyncio.gather(*tasks)
        except GatewayError as error:
            for index, (task, upload) in enumerate(zip(tasks, uploads, strict=True)):
                if task.done() and not task.cancelled() and task.exception() is error:
                    _named(error, upload, index)
            raise


def batches(sizes: Sequence[int], most: int, room: int) -> list[slice]:
    """How images of these sizes share calls: in their order, at most so many and so many bytes in each.

    Each takes some bytes more than its own; one that does not fit beside others has a call of its own.
    """
    found, start, total = list[slice](), 0, 0
    for index, size in enumerate(sizes):
        if index > start and (index - start >= most or total + size + _ELEMENT_BYTES > room):
            found.append(slice(start, index))
            start, total = index, 0
        total += size + _ELEMENT_BYTES
    return [*found, slice(start, len(sizes))]


@contextlib.asynccontextmanager
async def _cancelled_at_end(tasks: Sequence[asyncio.Future[Any]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check_count(images_: int, limits: Limits) -> None:
    """Refuse more images than a request may contain.

    Raises:
        TooManyImages: there are more.
    """
    if images_ > limits.images:
        raise TooManyImages(f"The request has more than {limits.images} images.", limit=limits.images)


def _named(error: GatewayError, upload: Upload, index: int) -> GatewayError:
    """The error with the image that it is about; without, if another image might have the same trouble."""
    if not error.is_server_fault or isinstance(error, DeadlineExceeded):
        error.members = {**error.members, "file": upload.name, "index": index}
    return error
