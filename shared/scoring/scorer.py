"""Scores images with one service: prepare, predict, rank.

Each image is a call of its own: the service scores one at a time anyway, so the first is scored while the next is still
being decoded, no message grows with the number of files, and replicas share the work.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import DeadlineExceeded, GatewayError, ImageTooLarge, ServiceRejected, TooManyImages
from shared.scoring import images, labels
from shared.scoring.types import Prediction, Ranking, Upload
from shared.settings import InputForm, Limits, OutputForm
from shared.telemetry import DECODE, RequestContext
from shared.upstream.codecs import Output, RequestTemplate, Selector
from shared.upstream.service import Upstream


@dataclass(frozen=True)
class _Job[T]:
    """What is done for each image of a request: how its request is made, and what becomes of the response."""

    requests: RequestTemplate
    read: Callable[[Upload, bytes], T]


class Scorer:
    """Scores with one service; ``executor`` has the threads that decode."""

    def __init__(self, upstream: Upstream, limits: Limits, executor: Executor) -> None:
        self._upstream = upstream
        self._service = upstream.settings
        self._limits = limits
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

        def prediction(upload: Upload, response: bytes) -> Prediction:
            return self._prediction(upload.name, self._upstream.codec.scores(response), ranking)

        return await self._each(uploads, _Job(self._requests, prediction), context)

    async def outputs(
        self, uploads: Sequence[Upload], requests: RequestTemplate, context: RequestContext
    ) -> list[Output]:
        """The service's own output for each image, ``[1, ...]``, neither ranked nor named; otherwise as :meth:`score`.

        ``requests`` are those of a version and signature of the model.
        """

        def output(_: Upload, response: bytes) -> Output:
            return self._upstream.codec.output(response, 1)

        return await self._each(uploads, _Job(requests, output), context)

    async def _each[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        self._check(uploads)
        with self._upstream.admission.permit(len(uploads), context):
            if len(uploads) == 1:
                return [await self._one(uploads[0], job, context)]
            return await self._all(uploads, job, context)

    async def _all[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        tasks = [asyncio.ensure_future(self._one(upload, job, context.for_image())) for upload in uploads]
        try:
            return await asyncio.gather(*tasks)
        except GatewayError as error:
            _name_the_file(error, tasks, uploads)
            raise
        finally:
            # The others must not go on after one failed, or after the client disconnected.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _check(self, uploads: Sequence[Upload]) -> None:
        check_count(len(uploads), self._limits)
        for index, upload in enumerate(uploads):
            if len(upload.data) > self._limits.image_bytes:
                raise ImageTooLarge(
                    f"The image has {len(upload.data)} bytes; {self._limits.image_bytes} are allowed.",
                    limit=self._limits.image_bytes,
                    unit="bytes",
                    file=upload.name,
                    index=index,
                )

    async def _one[T](self, upload: Upload, job: _Job[T], context: RequestContext) -> T:
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
            return await self._in_thread(context, self._tensor_request, data, requests)
        if images.forwardable(data, self._limits.image_pixels, requests.room(self._service.max_message_bytes)):
            return requests.encoded([data])
        return await self._in_thread(context, self._file_request, data, requests)

    def _file_request(self, data: bytes, requests: RequestTemplate) -> bytes:
        preprocessing, pixels = self._service.preprocessing, self._limits.image_pixels
        room = requests.room(self._service.max_message_bytes)
        return requests.encoded([images.to_file(data, preprocessing, pixels, room)])

    def _tensor_request(self, data: bytes, requests: RequestTemplate) -> bytes:
        tensor = images.to_tensor(data, self._service.preprocessing, self._limits.image_pixels)
        return requests.floats((1, *tensor.shape), np.ascontiguousarray(tensor, dtype="<f4").data.cast("B"))

    async def _check_image(self, data: bytes, context: RequestContext) -> None:
        """Decode a forwarded image that the service rejected: it may be broken.

        Raises:
            GatewayError: it is.
        """
        if self._service.input_form is InputForm.ENCODED:
            await self._in_thread(context, self._tensor_request, data, self._requests)

    async def _in_thread(
        self,
        context: RequestContext,
        work: Callable[[bytes, RequestTemplate], bytes],
        data: bytes,
        requests: RequestTemplate,
    ) -> bytes:
        async with context.timeout():
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, data, requests)

    def _prediction(self, file: str, scores: npt.NDArray[np.float32], ranking: Ranking) -> Prediction:
        if self._service.output_form is OutputForm.LOGITS:
            scores = labels.softmax(scores)
        ranked = labels.rank(scores, self._names, ranking)
        everything = [round(score, 6) for score in scores.tolist()] if ranking.top == 0 else None
        return Prediction(file, ranked, everything)


def check_count(images_: int, limits: Limits) -> None:
    """Refuse more images than a request may contain.

    Raises:
        TooManyImages: there are more.
    """
    if images_ > limits.images:
        raise TooManyImages(f"The request holds {images_} images; {limits.images} are allowed.", limit=limits.images)


def _name_the_file[T](error: GatewayError, tasks: Sequence[asyncio.Future[T]], uploads: Sequence[Upload]) -> None:
    """Add the image that an error is about, where another image might have none."""
    if error.status >= 500 and not isinstance(error, DeadlineExceeded):
        return
    for index, (task, upload) in enumerate(zip(tasks, uploads, strict=True)):
        if task.done() and not task.cancelled() and task.exception() is error:
            error.members = {**error.members, "file": upload.name, "index": index}
