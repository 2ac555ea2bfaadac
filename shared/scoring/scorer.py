"""Scores images with one service: prepare, predict, rank.

Each image is a call of its own where the service scores one at a time anyway: so the first is scored while the next is
still being decoded, no message grows with the number of files, and replicas share the work. Where the model takes
several at once, they share calls.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import (
    GatewayError,
    ImageTooLarge,
    ServiceAnswerInvalid,
    ServiceRejected,
    TooManyImages,
)
from shared.scoring import images, labels
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.work import Content, ToFile, ToTensor, with_placement, without_placement
from shared.scoring.images.geometry import Placement, unchanged
from shared.scoring.own_names import OwnNames
from shared.scoring.several import batches, cancelled_at_end, gathered, named
from shared.scoring.types import Prediction, Ranking, Upload
from shared.settings import SERVICE_LABELS, Limits, Metadata, OutputKind, prefix
from shared.telemetry import DECODE, RequestContext, log, metrics
from shared.upstream.codecs import Codec, ModelInterface, Output, Outputs, RequestTemplate, Selector, tensors
from shared.upstream.codecs.outputs import classified
from shared.upstream.service import Upstream

_DEFAULT = Selector()

# A probability may be a little above 1 by rounding.
_ABOVE_ONE = 1.01

# The bytes of several files that are looked through at once on the event loop: 0.3 ms.
_AT_ONCE = 1_000_000


class _Job[T](NamedTuple):
    """What is done for each image of a request: how its request is made, and what becomes of the response.

    ``requests`` are of ``codec``, for what ``selector`` chooses. ``read`` gives the results of a response for some
    images; where there is ``placed``, it adds to a result where the image is in the model's input.
    """

    codec: Codec
    selector: Selector
    requests: RequestTemplate
    read: Callable[[Codec, Sequence[Upload], bytes], list[T]]
    placed: Callable[[T, Placement], T] | None = None

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
        own = self._service.labels == SERVICE_LABELS
        self._own_names = OwnNames(upstream) if own else None
        self._names = () if own or self._service.output is OutputKind.RAW else self._named()
        self._default: tuple[Codec, RequestTemplate] | None = None
        jobs = {OutputKind.CLASSES: self._ranked, OutputKind.SCORES: self._scores, OutputKind.RAW: self._raw}
        self._predictions = jobs[self._service.output]
        # Whether the log was told that labels or scores are doubtful.
        self._doubted = False

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
                asyncio.ensure_future(self._checked(upload, job, context.for_image(len(uploads)))) for upload in uploads
            ]
            async with cancelled_at_end(tasks):
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
        self, uploads: Sequence[Upload], selector: Selector, context: RequestContext, codec: Codec | None = None
    ) -> list[Output]:
        """The service's own output for each image, ``[1, ...]``, neither ranked nor named; otherwise as :meth:`score`.

        ``selector`` chooses the version and signature of the model; ``codec`` is that of the model, unless another is
        given, which prepares images in another way.
        """

        def read(codec: Codec, some: Sequence[Upload], response: bytes) -> list[Output]:
            output = codec.output(response, len(some))
            self._note(selector, output.version)
            return _rows(output)

        return await self._each(uploads, await self._job(selector, read, context, codec), context)

    async def raw(
        self, uploads: Sequence[Upload], selector: Selector, context: RequestContext, codec: Codec | None = None
    ) -> list[Outputs]:
        """As :meth:`outputs`: all outputs, of any datatype and shape."""

        def read(codec: Codec, some: Sequence[Upload], response: bytes) -> list[Outputs]:
            outputs = codec.outputs(response)
            self._note(selector, outputs.version)
            return tensors.rows(outputs, len(some))

        return await self._each(uploads, await self._job(selector, read, context, codec), context)

    def _note(self, selector: Selector, version: int | str | None) -> None:
        if selector == _DEFAULT:
            self._upstream.answered(version)

    async def names(self, codec: Codec, context: RequestContext) -> tuple[str, ...]:
        """The names of the classes of a codec's model."""
        return self._names if self._own_names is None else await self._own_names.of(codec, context)

    async def _codec(self, context: RequestContext) -> Codec:
        try:
            return await self._upstream.model_codec(context)
        except TimeoutError:
            raise context.deadline_exceeded() from None

    def _requests(self, codec: Codec, selector: Selector) -> RequestTemplate:
        """The requests for a selector; the default ones are made once for a codec."""
        if selector is not _DEFAULT and selector != _DEFAULT:
            return codec.requests(selector)
        if self._default is None or self._default[0] is not codec:
            self._default = codec, codec.requests(selector)
        return self._default[1]

    async def _ranked(self, ranking: Ranking, context: RequestContext) -> _Job[Prediction]:
        codec = self._upstream.known_codec or await self._codec(context)
        names = self._names if self._own_names is None else await self._own_names.of(codec, context)

        def prediction(upload: Upload, output: Output) -> Prediction:
            scores, version = self._activated(output)
            if scores.size > len(names):
                raise self._unnamed(scores.size, len(names))
            ranked = labels.rank(scores, names, ranking)
            if not self._doubted and (scores.size < len(names) or (ranked and ranked[0].score > _ABOVE_ONE)):
                self._doubt(scores.size, len(names))
            everything = [round(score, 6) for score in scores.tolist()] if ranking.top == 0 else None
            return Prediction(upload.name, ranked, everything, version)

        return _Job(codec, _DEFAULT, self._requests(codec, _DEFAULT), self._classes(prediction))

    async def _scores(self, _: Ranking, context: RequestContext) -> _Job[Prediction]:
        def prediction(upload: Upload, output: Output) -> Prediction:
            scores, version = self._activated(output)
            return Prediction(upload.name, [], scores, version)

        return await self._job(_DEFAULT, self._classes(prediction), context)

    async def _raw(self, _: Ranking, context: RequestContext) -> _Job[Prediction]:
        def read(codec: Codec, some: Sequence[Upload], response: bytes) -> list[Prediction]:
            found = codec.outputs(response)
            version = self._version(found.version)
            return [
                Prediction(upload.name, [], version=version, outputs=own.tensors)
                for upload, own in zip(some, tensors.rows(found, len(some)), strict=True)
            ]

        def placed(result: Prediction, placement: Placement) -> Prediction:
            return result._replace(placement=placement)

        return (await self._job(_DEFAULT, read, context))._replace(placed=placed)

    def _classes(
        self, prediction: Callable[[Upload, Output], Prediction]
    ) -> Callable[[Codec, Sequence[Upload], bytes], list[Prediction]]:
        """Reads a response whose output has the scores of each image."""

        def read(codec: Codec, some: Sequence[Upload], response: bytes) -> list[Prediction]:
            if len(some) == 1:
                return [prediction(some[0], codec.classified(response))]
            rows = _rows(codec.output(response, len(some)))
            return [prediction(one, classified(row, self._service)) for one, row in zip(some, rows, strict=True)]

        return read

    async def _job[T](
        self,
        selector: Selector,
        read: Callable[[Codec, Sequence[Upload], bytes], list[T]],
        context: RequestContext,
        codec: Codec | None = None,
    ) -> _Job[T]:
        codec = codec or self._upstream.known_codec or await self._codec(context)
        return _Job(codec, selector, self._requests(codec, selector), read)

    async def _each[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        check_count(len(uploads), self._limits)
        for index, upload in enumerate(uploads):
            fault = self._fault(upload)
            if fault is not None:
                raise named(fault, upload, index)
        with self._upstream.admission.permit(len(uploads), context):
            if len(uploads) > 1:
                together = self._batched if job.model.max_batch > 1 else self._all
                return await together(uploads, job, context)
            try:
                return [await self._one(uploads[0], job, context)]
            except GatewayError as error:
                named(error, uploads[0], 0)
                raise

    async def _all[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        return await gathered(uploads, lambda upload: self._one(upload, job, context.for_image(len(uploads))))

    async def _batched[T](self, uploads: Sequence[Upload], job: _Job[T], context: RequestContext) -> list[T]:
        """As few calls as the model and its service accept."""
        contents = self._as_they_are(uploads, job, context) or await gathered(
            uploads, lambda upload: self._content(upload.data, job, context.for_image(len(uploads)))
        )
        try:
            return await self._batches(uploads, contents, job, context)
        except TimeoutError:
            raise context.deadline_exceeded() from None
        except (ServiceRejected, ServiceAnswerInvalid):
            pass
        # The service does not say which image it rejects, and the model may have changed: each one by itself.
        return await self._all(uploads, job, context)

    def _as_they_are(self, uploads: Sequence[Upload], job: _Job[Any], context: RequestContext) -> list[bytes] | None:
        """The files as they are forwarded, without a task for each; None where one is not, or they are large."""
        if not job.model.takes_files or job.placed is not None or sum(len(one.data) for one in uploads) > _AT_ONCE:
            return None
        found, room = list[bytes](), job.requests.room(self._service.max_message_bytes)
        with context.timings.measure(DECODE):
            for index, upload in enumerate(uploads):
                try:
                    image = self._plain(upload.data, room)
                except GatewayError as error:
                    raise named(error, upload, index) from None
                if image is None:
                    return None
                found.append(image)
        metrics.IMAGES.add((self._service.name, "forwarded"), len(found))
        return found

    async def _batches[T](
        self, uploads: Sequence[Upload], contents: Sequence[bytes], job: _Job[T], context: RequestContext
    ) -> list[T]:
        room = job.requests.room(self._service.max_message_bytes)
        groups = batches([len(content) for content in contents], job.model.max_batch, room)
        if len(groups) == 1:
            return await self._batch(uploads, contents, job, context.for_image(len(uploads)))
        tasks = [
            asyncio.ensure_future(self._batch(uploads[part], contents[part], job, context.for_image(len(uploads))))
            for part in groups
        ]
        async with cancelled_at_end(tasks):
            return [result for results in await asyncio.gather(*tasks) for result in results]

    async def _content(self, data: bytes, job: _Job[Any], context: RequestContext) -> bytes:
        """What of a request is for one image."""
        with context.timings.measure(DECODE):
            room = job.requests.room(self._service.max_message_bytes)
            if job.model.takes_files and (image := self._forwardable(data, room)):
                return image if job.placed is None else bytes(with_placement(unchanged(images.size_of(image)), image))
            work = self._to_file(job, room) if job.model.takes_files else self._to_tensor(job)
            return await self._decoder.run(work, data, bytes, self._executor, context)

    async def _batch[T](
        self, uploads: Sequence[Upload], contents: Sequence[bytes], job: _Job[T], context: RequestContext
    ) -> list[T]:
        if job.placed is None:
            request = _request_of(job, contents)
            return job.read(job.codec, uploads, await self._upstream.infer(request, context, len(uploads)))
        placed = [without_placement(content) for content in contents]
        request = _request_of(job, [content for _, content in placed])
        results = job.read(job.codec, uploads, await self._upstream.infer(request, context, len(uploads)))
        return [job.placed(result, placement) for result, (placement, _) in zip(results, placed, strict=True)]

    def _fault(self, upload: Upload) -> GatewayError | None:
        """Why an image cannot be scored, as far as that is known without looking into it."""
        if len(upload.data) > self._limits.image_bytes:
            return ImageTooLarge(
                f"The image has {len(upload.data)} bytes; {self._limits.image_bytes} are allowed.",
                limit=self._limits.image_bytes,
                unit="bytes",
            )
        return upload.fault

    async def _checked[T](self, upload: Upload, job: _Job[T], context: RequestContext) -> T:
        fault = self._fault(upload)
        if fault is not None:
            raise fault
        return await self._one(upload, job, context)

    async def _one[T](self, upload: Upload, job: _Job[T], context: RequestContext) -> T:
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
        if job.placed is not None:
            return (await self._batch([upload], [await self._content(upload.data, job, context)], job, context))[0]
        with context.timings.measure(DECODE):
            request = self._forwarded(upload.data, job) or await self._decoded(upload.data, job, context)
        return job.read(job.codec, [upload], await self._upstream.infer(request, context))[0]

    async def _changed[T](self, job: _Job[T], context: RequestContext) -> _Job[T] | None:
        """The job for the model as it is now, where the service has another one since it was described."""
        discovery = self._upstream.discovery
        codec = None if discovery is None else await discovery.changed(job.codec, context)
        return None if codec is None else job._replace(codec=codec, requests=self._requests(codec, job.selector))

    def _forwarded(self, data: bytes, job: _Job[Any]) -> bytes | None:
        """The request with the file itself; None where it cannot be forwarded."""
        if not job.model.takes_files:
            return None
        image = self._forwardable(data, job.requests.room(self._service.max_message_bytes))
        return job.requests.encoded([image]) if image else None

    async def _decoded(self, data: bytes, job: _Job[Any], context: RequestContext) -> bytes:
        """The request with what the image becomes by decoding."""
        requests, model = job.requests, job.model
        if not model.takes_files:

            def request(tensor: Content) -> bytes:
                return requests.numbers(model.datatype, model.shape(1), tensor)

            return await self._decoder.run(self._to_tensor(job), data, request, self._executor, context)
        work = self._to_file(job, requests.room(self._service.max_message_bytes))
        return await self._decoder.run(work, data, lambda file: requests.encoded([file]), self._executor, context)

    def _forwardable(self, data: bytes, room: int) -> bytes | None:
        found = self._plain(data, room)
        if found is not None:
            metrics.IMAGES.add((self._service.name, "forwarded"))
        return found

    def _plain(self, data: bytes, room: int) -> bytes | None:
        keep = self._service.metadata is Metadata.KEEP
        return images.forwardable(data, self._limits.image_pixels, room, keep_metadata=keep)

    def _to_file(self, job: _Job[Any], room: int) -> ToFile:
        metrics.IMAGES.add((self._service.name, "decoded"))
        return ToFile(job.model.preprocessing, self._limits.image_pixels, room, placed=job.placed is not None)

    def _to_tensor(self, job: _Job[Any]) -> ToTensor:
        model = job.model
        metrics.IMAGES.add((self._service.name, "decoded"))
        placed = job.placed is not None
        return ToTensor(model.preprocessing, self._limits.image_pixels, model.datatype, model.layout, placed)

    async def _check_image(self, data: bytes, job: _Job[Any], context: RequestContext) -> None:
        """Decode a forwarded image that the service rejected: it may be broken.

        Raises:
            GatewayError: it is.
        """
        if job.model.takes_files:
            work = ToTensor(job.model.preprocessing, self._limits.image_pixels)
            await self._decoder.run(work, data, bytes, self._executor, context)

    def _activated(self, output: Output) -> tuple[npt.NDArray[np.float32], str | None]:
        """The scores of one image, and the model's version."""
        version = self._version(output.version)
        return labels.activated(output.values, self._service.activation_function), version

    def _named(self) -> tuple[str, ...]:
        return labels.load(self._service.labels, f"{prefix(self._service.name)}LABELS")

    def _doubt(self, classes: int, names: int) -> None:
        """Say once in the log that labels or scores are probably not what their readers take them for."""
        self._doubted, own = True, prefix(self._service.name)
        if classes < names:
            which = f"returns {classes} classes, and {own}LABELS has {names} names: set it to the model's own"
        else:
            which = f"returns scores above 1, which are no probabilities: {own}ACTIVATION=softmax or sigmoid makes them"
        log.warning("service %s: its model %s", self._service.name, which)

    def _unnamed(self, classes: int, names: int) -> ServiceAnswerInvalid:
        own = prefix(self._service.name)
        return ServiceAnswerInvalid(
            f"The output has {classes} classes, and {own}LABELS has {names} names. Set it to the model's own; or, for "
            f"what is no classifier, as an embedding, set {own}OUTPUT to raw or scores."
        )

    def _version(self, version: int | str | None) -> str | None:
        self._upstream.answered(version)
        return None if version is None else str(version)


def _request_of(job: _Job[Any], contents: Sequence[Content]) -> bytes:
    """The request for some images, of what is for each."""
    model = job.model
    if model.takes_files:
        return job.requests.encoded(contents)
    return job.requests.numbers(model.datatype, model.shape(len(contents)), b"".join(contents))


def _rows(output: Output) -> list[Output]:
    """The output of each image."""
    return [Output(output.values[index : index + 1], output.version) for index in range(len(output.values))]


def check_count(images_: int, limits: Limits) -> None:
    """Refuse more images than a request may contain.

    Raises:
        TooManyImages: there are more.
    """
    if images_ > limits.images:
        raise TooManyImages(f"The request has more than {limits.images} images.", limit=limits.images)
