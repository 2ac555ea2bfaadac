"""Scores images with one service: prepare, predict, rank.

Each image is a call of its own: the service scores one at a time anyway, so the first is scored while the next is still
being decoded, no message grows with the number of files, and replicas share the work.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import DeadlineExceeded, GatewayError, ImageTooLarge, ServiceRejected, TooManyImages
from shared.scoring import images, labels
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.work import Content, ToFile, ToTensor
from shared.scoring.types import Prediction, Ranking, Upload
from shared.settings import InputForm, Limits, Metadata, OutputForm
from shared.telemetry import DECODE, RequestContext
from shared.upstream.codecs import Output, RequestTemplate, Selector
from shared.upstream.service import Upstream


@dataclass(frozen=True)
class _Job[T]:
    """What is done for each image of a request: how its request is made, and what becomes of the response."""

    requests: RequestTemplate
    read: Callable[[Upload, bytes], T]


class Scorer:
    """Scores with one service; ``executor`` has the threads that decode its small images."""

    def __init__(self, upstream: Upstream, limits: Limits, decoder: Decoder, executor: Executor) -> None:
        self._upstream = upstream
        self._service = upstream.settings
        self._limits = limits
        self._decoder = decoder
        self._executor = executor
        self._names = labels.load(self._service.labels)
        self._requests = upstream.codec.requests(Selector())

    async def score(self, uploads: Sequence[Upload], ranking: Ranking, context: RequestContext) -> list[Prediction]:
        """Score the images, in their order; all or none.

        Raises:
            Overloaded: too many images are in progress.
            DeadlineExceeded: the request's deadline passed.
            GatewayError: the first image's fault, with the members ``file`` and ``index``; or the service's.
        """
        return await self._each(uploads, self._predictions(ranking), context)

    async def score_partially(
        self, uploads: Sequence[Upload], ranking: Ranking, context: RequestContext
    ) -> list[Prediction | GatewayError]:
        """Score the images, in their order; in the place of one that cannot be scored, why.

        Raises:
            GatewayError: none could be scored, for a reason that is not in the images; or too many were sent.
        """
        check_count(len(uploads), self._limits)
        job = self._predictions(ranking)
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

    async def outputs(
        self, uploads: Sequence[Upload], requests: RequestTemplate, context: RequestContext
    ) -> list[Output]:
        """The service's own output for each image, ``[1, ...]``, neither ranked nor named; otherwise as :meth:`score`.

        ``requests`` are those of a version and signature of the model.
        """

        def output(_: Upload, response: bytes) -> Output:
            return self._upstream.codec.output(response, 1)

        return await self._each(uploads, _Job(requests, output), context)

    def _predictions(self, ranking: Ranking) -> _Job[Prediction]:
        def prediction(upload: Upload, response: bytes) -> Prediction:
            return self._prediction(upload.name, self._upstream.codec.scores(response), ranking)

        return _Job(self._requests, prediction)

    async def _each[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        check_count(len(uploads), self._limits)
        for index, upload in enumerate(uploads):
            fault = self._fault(upload)
            if fault is not None:
                raise _named(fault, upload, index)
        with self._upstream.admission.permit(len(uploads), context):
            if len(uploads) > 1:
                return await self._all(uploads, job, context)
            try:
                return [await self._one(uploads[0], job, context)]
            except GatewayError as error:
                _named(error, uploads[0], 0)
                raise

    async def _all[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        tasks = [asyncio.ensure_future(self._one(upload, job, context.for_image(len(uploads)))) for upload in uploads]
        # The others must not go on after one failed, or after the client disconnected.
        async with _cancelled_at_end(tasks):
            try:
                return await asyncio.gather(*tasks)
            except GatewayError as error:
                for index, (task, upload) in enumerate(zip(tasks, uploads, strict=True)):
                    if task.done() and not task.cancelled() and task.exception() is error:
                        _named(error, upload, index)
                raise

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
            with context.timings.measure(DECODE):
                request = await self._request(upload.data, job.requests, context)
            response = await self._upstream.infer(request, context)
        except ServiceRejected:
            await self._check_image(upload.data, context)
            raise
        except TimeoutError:
            raise context.deadline_exceeded() from None
        return job.read(upload, response)

    async def _request(self, data: bytes, requests: RequestTemplate, context: RequestContext) -> bytes:
        if self._service.input_form is InputForm.TENSOR:
            return await self._tensor_request(data, requests, context)
        room, keep = requests.room(self._service.max_message_bytes), self._service.metadata is Metadata.KEEP
        if image := images.forwardable(data, self._limits.image_pixels, room, keep_metadata=keep):
            return requests.encoded([image])
        work = ToFile(self._service.preprocessing, self._limits.image_pixels, room)
        return await self._decoder.run(work, data, lambda file: requests.encoded([file]), self._executor, context)

    async def _tensor_request(self, data: bytes, requests: RequestTemplate, context: RequestContext) -> bytes:
        size = self._service.preprocessing.size

        def request(tensor: Content) -> bytes:
            return requests.floats((1, size, size, 3), tensor)

        work = ToTensor(self._service.preprocessing, self._limits.image_pixels)
        return await self._decoder.run(work, data, request, self._executor, context)

    async def _check_image(self, data: bytes, context: RequestContext) -> None:
        """Decode a forwarded image that the service rejected: it may be broken.

        Raises:
            GatewayError: it is.
        """
        if self._service.input_form is InputForm.ENCODED:
            await self._tensor_request(data, self._requests, context)

    def _prediction(self, file: str, scores: npt.NDArray[np.float32], ranking: Ranking) -> Prediction:
        if self._service.output_form is OutputForm.LOGITS:
            scores = labels.softmax(scores)
        ranked = labels.rank(scores, self._names, ranking)
        everything = [round(score, 6) for score in scores.tolist()] if ranking.top == 0 else None
        return Prediction(file, ranked, everything)


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
