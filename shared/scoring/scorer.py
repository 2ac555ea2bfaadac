"""Scores images with one service: prepare, predict, rank.

Each image is a call of its own: the service scores one at a time anyway, so the first is scored while the next is still
decoded, no message grows with the number of files, and replicas share the work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.admission import Admission
from shared.errors import DeadlineExceeded, GatewayError, ImageTooLarge, ServiceRejected, TooManyImages
from shared.scoring import images, labels, tensors
from shared.scoring.types import Prediction, Ranking, Upload
from shared.settings import InputForm, Limits, OutputForm, ServiceSettings
from shared.telemetry import CREDENTIALS, DECODE, PREDICT, WAIT, Call

# What a part of a request is to people.
DOING: Mapping[str, str] = {
    "": "the request was waiting for its turn",
    DECODE: "the image was being read",
    CREDENTIALS: "Key Vault was being read",
    WAIT: "the connection to the service was being made",
    PREDICT: "the service was scoring",
}

type Predict = Callable[[bytes, Call], Awaitable[bytes]]


@dataclass(frozen=True)
class _Job[T]:
    """What is done for each image of a call: how it is asked for, and what becomes of the service's answer."""

    call: Call
    requests: tensors.RequestTemplate
    read: Callable[[Upload, bytes], T]


class Scorer:
    """Scores with one service.

    ``predict`` sends a serialized PredictRequest and returns the serialized answer; ``executor`` has the threads that
    decode; ``admission`` decides what is let in.
    """

    def __init__(
        self,
        service: ServiceSettings,
        limits: Limits,
        predict: Predict,
        executor: Executor,
        admission: Admission,
    ) -> None:
        self._service = service
        self._admission = admission
        self._limits = limits
        self._predict = predict
        self._executor = executor
        self._names = labels.load(service.labels)
        self._requests = tensors.RequestTemplate(
            model=service.model, signature=service.signature, input_name=service.input_name
        )
        self._answers = tensors.AnswerReader(service.output_name)

    async def score(self, uploads: Sequence[Upload], ranking: Ranking, call: Call) -> list[Prediction]:
        """Score the images, in their order; all or none.

        Raises:
            Overloaded: too many images are under way.
            DeadlineExceeded: the call's deadline passed.
            GatewayError: the first image's fault, with the members ``file`` and ``index``; or the service's.
        """

        def prediction(upload: Upload, answer: bytes) -> Prediction:
            return self._prediction(upload.name, self._answers.scores(answer), ranking)

        return await self._each(uploads, _Job(call, self._requests, prediction))

    async def outputs(
        self, uploads: Sequence[Upload], requests: tensors.RequestTemplate, call: Call
    ) -> list[tensors.Output]:
        """The service's own output for each image, ``[1, ...]``, neither ranked nor named; otherwise as :meth:`score`.

        ``requests`` says which version and signature of the model is meant.
        """
        return await self._each(uploads, _Job(call, requests, lambda _, answer: self._answers.output(answer, 1)))

    async def _each[T](self, uploads: Sequence[Upload], job: _Job[T]) -> list[T]:
        self._check(uploads)
        try:
            with self._admission.place(len(uploads), job.call):
                if len(uploads) == 1:
                    return [await self._one(uploads[0], job)]
                return await self._all(uploads, job)
        except TimeoutError:
            raise DeadlineExceeded(f"The deadline passed while {DOING[job.call.timings.latest]}.") from None

    async def _all[T](self, uploads: Sequence[Upload], job: _Job[T]) -> list[T]:
        tasks = [asyncio.ensure_future(self._one(upload, job)) for upload in uploads]
        try:
            return await asyncio.gather(*tasks)
        except GatewayError as error:
            _name_the_file(error, tasks, uploads)
            raise
        finally:
            # What was not waited for, since another failed or the client went away, must not go on.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _check(self, uploads: Sequence[Upload]) -> None:
        if len(uploads) > self._limits.images:
            raise TooManyImages(
                f"The request holds {len(uploads)} images; {self._limits.images} are allowed.",
                limit=self._limits.images,
            )
        for index, upload in enumerate(uploads):
            if len(upload.data) > self._limits.image_bytes:
                raise ImageTooLarge(
                    f"The image has {len(upload.data)} bytes; {self._limits.image_bytes} are allowed.",
                    limit=self._limits.image_bytes,
                    unit="bytes",
                    file=upload.name,
                    index=index,
                )

    async def _one[T](self, upload: Upload, job: _Job[T]) -> T:
        call = job.call
        with call.timings.measure(DECODE):
            request = await self._request(upload.data, job)
        try:
            answer = await self._predict(request, call)
        except ServiceRejected:
            await self._blame_the_image(upload.data, job)
            raise
        return job.read(upload, answer)

    async def _request[T](self, data: bytes, job: _Job[T]) -> bytes:
        requests = job.requests
        if self._service.input_form is InputForm.TENSOR:
            return await self._in_thread(job.call, self._tensor_request, data, requests)
        if images.forwardable(data, self._limits.image_pixels, requests.room(self._service.max_message_bytes)):
            return requests.encoded([data])
        return await self._in_thread(job.call, self._file_request, data, requests)

    def _file_request(self, data: bytes, requests: tensors.RequestTemplate) -> bytes:
        how, pixels = self._service.preprocessing, self._limits.image_pixels
        return requests.encoded([images.to_file(data, how, pixels, requests.room(self._service.max_message_bytes))])

    def _tensor_request(self, data: bytes, requests: tensors.RequestTemplate) -> bytes:
        tensor = images.to_tensor(data, self._service.preprocessing, self._limits.image_pixels)
        return requests.tensor(tensor[np.newaxis])

    async def _blame_the_image[T](self, data: bytes, job: _Job[T]) -> None:
        """An encoded image is decoded by the service alone; when that one rejects it, find out whether it is broken."""
        if self._service.input_form is InputForm.ENCODED:
            await self._in_thread(job.call, self._tensor_request, data, job.requests)

    async def _in_thread(
        self,
        call: Call,
        work: Callable[[bytes, tensors.RequestTemplate], bytes],
        data: bytes,
        requests: tensors.RequestTemplate,
    ) -> bytes:
        async with call.in_time():
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, data, requests)

    def _prediction(self, file: str, scores: npt.NDArray[np.float32], ranking: Ranking) -> Prediction:
        if self._service.output_form is OutputForm.LOGITS:
            scores = labels.softmax(scores)
        ranked = labels.rank(scores, self._names, ranking)
        everything = [round(score, 6) for score in scores.tolist()] if ranking.top == 0 else None
        return Prediction(file, ranked, everything)


def _name_the_file[T](error: GatewayError, tasks: Sequence[asyncio.Future[T]], uploads: Sequence[Upload]) -> None:
    """Say which image an error is about, where that makes a difference."""
    if error.status >= 500:
        return
    for index, (task, upload) in enumerate(zip(tasks, uploads, strict=True)):
        if task.done() and not task.cancelled() and task.exception() is error:
            error.members = {**error.members, "file": upload.name, "index": index}
