"""Scores images with one service: prepare, predict, rank.

Each image is a call of its own: the service scores one at a time anyway, so the first is scored while the next is still
decoded, no message grows with the number of files, and replicas share the work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from shared.errors import DeadlineExceeded, GatewayError, ImageTooLarge, ServiceRejected, TooManyImages
from shared.scoring import images, labels, tensors
from shared.scoring.types import Prediction, Ranking, Upload
from shared.settings import InputForm, Limits, OutputForm, ServiceSettings
from shared.telemetry import CREDENTIALS, DECODE, PREDICT, WAIT, Call

# What a part of a request is to people.
_DOING: Mapping[str, str] = {
    "": "the request was waiting for its turn",
    DECODE: "the image was being read",
    CREDENTIALS: "Key Vault was being read",
    WAIT: "the connection to the service was being made",
    PREDICT: "the service was scoring",
}

type Predict = Callable[[bytes, Call], Awaitable[bytes]]


class Scorer:
    """Scores with one service; ``predict`` sends a serialized PredictRequest and returns the serialized answer."""

    def __init__(self, service: ServiceSettings, limits: Limits, predict: Predict, executor: Executor) -> None:
        self._service = service
        self._limits = limits
        self._predict = predict
        self._executor = executor
        self._names = labels.load(service.labels)
        self._requests = tensors.RequestTemplate(
            model=service.model, signature=service.signature, input_name=service.input_name
        )
        self._answers = tensors.AnswerReader(service.output_name)
        # What a message leaves for an encoded image; the numbers that tell lengths grow with it by a few bytes.
        self._room = service.max_message_bytes - len(self._requests.encoded([b""])) - 32

    async def score(self, uploads: Sequence[Upload], ranking: Ranking, call: Call) -> list[Prediction]:
        """Score the images, in their order; all or none.

        Raises:
            DeadlineExceeded: the call's deadline passed.
            GatewayError: the first image's fault, with the members ``file`` and ``index``; or the service's.
        """
        self._check(uploads)
        try:
            if len(uploads) == 1:
                return [await self._score_one(uploads[0], ranking, call)]
            return await self._score_all(uploads, ranking, call)
        except TimeoutError:
            raise DeadlineExceeded(f"The deadline passed while {_DOING[call.timings.latest]}.") from None

    async def _score_all(self, uploads: Sequence[Upload], ranking: Ranking, call: Call) -> list[Prediction]:
        tasks = [asyncio.ensure_future(self._score_one(upload, ranking, call)) for upload in uploads]
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

    async def _score_one(self, upload: Upload, ranking: Ranking, call: Call) -> Prediction:
        with call.timings.measure(DECODE):
            request = await self._request(upload.data, call)
        try:
            answer = await self._predict(request, call)
        except ServiceRejected:
            await self._blame_the_image(upload.data, call)
            raise
        return self._prediction(upload.name, self._answers.scores(answer), ranking)

    async def _request(self, data: bytes, call: Call) -> bytes:
        if self._service.input_form is InputForm.TENSOR:
            return await self._in_thread(call, self._tensor_request, data)
        if images.forwardable(data, self._limits.image_pixels, self._room):
            return self._requests.encoded([data])
        return await self._in_thread(call, self._file_request, data)

    def _file_request(self, data: bytes) -> bytes:
        how, pixels = self._service.preprocessing, self._limits.image_pixels
        return self._requests.encoded([images.to_file(data, how, pixels, self._room)])

    def _tensor_request(self, data: bytes) -> bytes:
        tensor = images.to_tensor(data, self._service.preprocessing, self._limits.image_pixels)
        return self._requests.tensor(tensor[np.newaxis])

    async def _blame_the_image(self, data: bytes, call: Call) -> None:
        """An encoded image is decoded by the service alone; when that one rejects it, find out whether it is broken."""
        if self._service.input_form is InputForm.ENCODED:
            await self._in_thread(call, self._tensor_request, data)

    async def _in_thread(self, call: Call, work: Callable[[bytes], bytes], data: bytes) -> bytes:
        async with call.in_time():
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, data)

    def _prediction(self, file: str, scores: npt.NDArray[np.float32], ranking: Ranking) -> Prediction:
        if self._service.output_form is OutputForm.LOGITS:
            scores = labels.softmax(scores)
        ranked = labels.rank(scores, self._names, ranking)
        everything = [round(score, 6) for score in scores.tolist()] if ranking.top == 0 else None
        return Prediction(file, ranked, everything)


def _name_the_file(error: GatewayError, tasks: Sequence[asyncio.Future[Prediction]], uploads: Sequence[Upload]) -> None:
    """Say which image an error is about, where that makes a difference."""
    if error.status >= 500:
        return
    for index, (task, upload) in enumerate(zip(tasks, uploads, strict=True)):
        if task.done() and not task.cancelled() and task.exception() is error:
            error.members = {**error.members, "file": upload.name, "index": index}
