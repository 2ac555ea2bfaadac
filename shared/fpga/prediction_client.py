"""Clients of the inference service for programs of one's own: give an image or an array, get scores.

Names, defaults and answers are those of Azure Machine Learning's client (``azureml.contrib.brainwave`` and
``amlrealtimeai``: ``PredictionClient``), so that it can be replaced by this one in an import. What differs: the access
token is sent, and never without TLS; every call has one deadline, retries included; only a connection that could not be
made or broke is tried again; errors name the cause. TensorFlow is not needed.

    with PredictionClient("cats.example.com", 443, use_ssl=True, access_token=key) as client:
        scores = client.score_image("cat.jpg")
"""

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio

from protos.tensor_pb2 import DT_STRING, TensorProto
from shared.fpga.channels import PREDICT
from shared.fpga.prediction_connection import Connection
from shared.fpga.prediction_errors import Closed, PredictionError, explained
from shared.fpga.prediction_retries import Attempts
from shared.fpga.retries import RetryBudget

if TYPE_CHECKING:
    import numpy.typing as npt

    from shared.fpga.prediction_tensors import Floats

# Seconds: for an image and for an array, as the public client has them.
IMAGE_TIMEOUT, ARRAY_TIMEOUT = 10.0, 30.0

# After so long without calls the connection is made anew: load balancers drop one after four minutes.
IDLE = timedelta(minutes=2)

# gRPC's own default, which inference services rarely raise.
MESSAGE_BYTES = 4 * 1024 * 1024

_CLOSED = "this client is closed: make another, or close it later"


class _Client:
    """What both clients have in common: the arguments, the requests, and how answers are read."""

    def __init__(
        self,
        address: str,
        port: int,
        use_ssl: bool = False,
        access_token: str = "",
        channel_shutdown_timeout: timedelta = IDLE,
        *,
        root_certificates: bytes | str | PathLike[str] | None = None,
        ssl_target_name: str = "",
        input_name: str = "images",
        output_name: str = "output_alias",
        model_name: str = "",
        signature_name: str = "",
        max_message_bytes: int = MESSAGE_BYTES,
        retries: bool = True,
    ) -> None:
        """Check the arguments; the first call connects.

        Args:
            address: host name or IP address; several IPv4 addresses with commas are used in turn.
            port: from 1 to 65535.
            use_ssl: whether the service speaks TLS.
            access_token: one of the service's keys; it is only ever sent over TLS.
            channel_shutdown_timeout: after so long without calls (a second at least) the connection is made anew.
            root_certificates: whom to trust: PEM as bytes, or the path of a PEM file; a service's own certificate will
                do. Else the file that GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names, else the public authorities.
            ssl_target_name: the name to look for in the service's certificate, where it is not the address.
            input_name: the tensor that is sent.
            output_name: the tensor that is returned.
            model_name: for a service with several models.
            signature_name: for a model with several signatures.
            max_message_bytes: how large a request or an answer may be.
            retries: whether a service that is away is waited for.

        Raises:
            ValueError: an argument cannot be used, or two contradict each other.
            OSError: the file of root certificates cannot be read.
        """
        self._connection = Connection.of(
            address,
            port,
            use_ssl=use_ssl,
            token=access_token,
            idle=channel_shutdown_timeout,
            root_certificates=root_certificates,
            ssl_target_name=ssl_target_name,
            message_bytes=max_message_bytes,
        )
        self._limit = max_message_bytes
        self._names = {"input_name": input_name, "model": model_name, "signature": signature_name}
        self._output_name = output_name
        self._budget = RetryBudget() if retries else None
        self._closed = False
        self._start()

    def _start(self) -> None:
        raise NotImplementedError

    def _attempts(self, timeout: float) -> Attempts:
        if not timeout or not 0 < timeout < math.inf:
            raise ValueError(f"timeout is {timeout}: pass seconds, more than zero")
        return Attempts(time.monotonic() + timeout, self._budget)

    def _failure(self, error: grpc.RpcError) -> PredictionError:
        if self._closed:
            return Closed("The client was closed during the call.", grpc.StatusCode.CANCELLED)
        return explained(error, with_token=bool(self._connection.token))

    # numpy takes 50 ms to import, which the first request may pay, but no program that only imports this module.

    def _encoded(self, data: bytes) -> bytes:
        return self._raw(data, [1], DT_STRING)

    def _raw(self, data: bytes, shape: Sequence[int], datatype: int) -> bytes:
        from shared.fpga import prediction_tensors as tensors  # noqa: PLC0415 - for numpy, see above

        tensors.check_size(len(data), self._limit)
        return tensors.request(tensors.raw_tensor(data, shape, datatype), **self._names)

    def _numeric(self, array: "npt.ArrayLike") -> bytes:
        from shared.fpga import prediction_tensors as tensors  # noqa: PLC0415 - for numpy, see above

        pixels = tensors.pixels(array)
        tensors.check_size(pixels.nbytes, self._limit, len(pixels) if pixels.ndim else 1)
        return tensors.request(tensors.numeric_tensor(pixels), **self._names)

    def _output(self, response: bytes) -> TensorProto:
        from shared.fpga import prediction_tensors as tensors  # noqa: PLC0415 - for numpy, see above

        return tensors.output(response, self._output_name)

    def _batch(self, response: bytes) -> "Floats":
        from shared.fpga import prediction_tensors as tensors  # noqa: PLC0415 - for numpy, see above

        return tensors.values(tensors.output(response, self._output_name))

    def _one(self, response: bytes) -> "Floats":
        from shared.fpga import prediction_tensors as tensors  # noqa: PLC0415 - for numpy, see above

        return tensors.only(tensors.values(tensors.output(response, self._output_name)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection!r}>"


class PredictionClient(_Client):
    """Scores by calls that block; safe to use from several threads, which share one connection.

    Every ``score_`` method raises :class:`~shared.fpga.prediction_errors.PredictionError` where the service cannot be
    called or does not answer with scores, and ValueError once the client is closed. ``timeout`` is in seconds, for all
    tries together.
    """

    # _channel  connected by the first call; None once closed

    _channel: grpc.Channel | None

    def _start(self) -> None:
        self._channel = self._connection.open()

    def score_image(self, path: str | PathLike[str] | bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":
        """Score an image file, JPEG or PNG, by its path or its bytes.

        Returns:
            The image's scores: ``[classes]``, or ``[1, 1, features]`` of a featurizer.
        """
        return self.score_file(path if isinstance(path, bytes) else Path(path).read_bytes(), timeout)

    def score_file(self, data: bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":
        """As :meth:`score_image`, for the bytes of a file."""
        return self._one(self._predict(self._encoded(data), timeout))

    def score_numpy_array(self, npdata: "npt.ArrayLike", timeout: float = ARRAY_TIMEOUT) -> "Floats":
        """Score prepared images: ``[N, height, width, 3]``, sent as float32.

        Returns:
            The scores of all: ``[N, classes]``, or ``[N, 1, 1, features]`` of a featurizer.
        """
        return self._batch(self._predict(self._numeric(npdata), timeout))

    def score_tensor(
        self, data: bytes, shape: Sequence[int], datatype: int, timeout: float = IMAGE_TIMEOUT
    ) -> TensorProto:
        """Send bytes as a tensor of a type that TensorFlow numbers (1: float, 7: string); the answer as it came."""
        return self._output(self._predict(self._raw(data, shape, datatype), timeout))

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        self._closed = True
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _predict(self, request: bytes, timeout: float) -> bytes:
        attempts = self._attempts(timeout)
        while True:
            try:
                return self._call(request, attempts.remaining)
            except grpc.RpcError as error:
                failure = self._failure(error)
                pause = attempts.pause(failure)
                if pause is None:
                    raise failure from error
            time.sleep(pause)

    def _call(self, request: bytes, timeout: float) -> bytes:
        channel = self._channel
        if channel is None:
            raise ValueError(_CLOSED)
        # Without serializers: bytes in, bytes out.
        predict: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        return predict(request, timeout=timeout, metadata=self._connection.metadata)


class AsyncPredictionClient(_Client):
    """The same for asyncio: each method is awaited. Belongs to the event loop of its first call.

    Arguments, answers and errors are those of :class:`PredictionClient`.
    """

    # _channel  None before the first call, and once closed

    _channel: grpc.aio.Channel | None

    def _start(self) -> None:
        self._channel = None

    async def score_image(self, path: str | PathLike[str] | bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":  # noqa: ASYNC109 - gRPC's deadline, not a cancellation
        """Score an image file, JPEG or PNG, by its path or its bytes."""
        data = path if isinstance(path, bytes) else await asyncio.to_thread(Path(path).read_bytes)
        return await self.score_file(data, timeout)

    async def score_file(self, data: bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":  # noqa: ASYNC109 - as above
        """As :meth:`score_image`, for the bytes of a file."""
        return self._one(await self._predict(self._encoded(data), timeout))

    async def score_numpy_array(self, npdata: "npt.ArrayLike", timeout: float = ARRAY_TIMEOUT) -> "Floats":  # noqa: ASYNC109 - as above
        """Score prepared images: ``[N, height, width, 3]``, sent as float32."""
        return self._batch(await self._predict(self._numeric(npdata), timeout))

    async def score_tensor(
        self,
        data: bytes,
        shape: Sequence[int],
        datatype: int,
        timeout: float = IMAGE_TIMEOUT,  # noqa: ASYNC109 - as above
    ) -> TensorProto:
        """Send bytes as a tensor of a type that TensorFlow numbers (1: float, 7: string); the answer as it came."""
        return self._output(await self._predict(self._raw(data, shape, datatype), timeout))

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        self._closed = True
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _predict(self, request: bytes, seconds: float) -> bytes:
        attempts = self._attempts(seconds)
        while True:
            try:
                return await self._call(request, attempts.remaining)
            except asyncio.CancelledError:
                raise self._reason_of_cancellation() from None
            except grpc.RpcError as error:
                failure = self._failure(error)
                pause = attempts.pause(failure)
                if pause is None:
                    raise failure from error
            await asyncio.sleep(pause)

    def _reason_of_cancellation(self) -> BaseException:
        """A channel that is closed cancels its calls, which looks like the caller's task being cancelled."""
        task = asyncio.current_task()
        if self._closed and task is not None and not task.cancelling():
            return Closed("The client was closed during the call.", grpc.StatusCode.CANCELLED)
        return asyncio.CancelledError()

    async def _call(self, request: bytes, seconds: float) -> bytes:
        if self._closed:
            raise ValueError(_CLOSED)
        if self._channel is None:
            self._channel = self._connection.open_async()
        predict: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(PREDICT)
        return await predict(request, timeout=seconds, metadata=self._connection.metadata)
