"""The clients: an image or an array in, scores out.

Names, defaults and results are those of Azure Machine Learning's client (``azureml.contrib.brainwave`` and
``amlrealtimeai``: ``PredictionClient``), which this one replaces by a changed import. What differs: the access token is
sent, and never without TLS; every call has one deadline, retries included; only a connection that could not be
established or was lost is retried; errors name the cause. TensorFlow is not needed.

    with PredictionClient("cats.example.com", 443, use_ssl=True, access_token=key) as client:
        scores = client.score_image("cat.jpg")
"""

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio

from prediction_client.connection import Connection
from prediction_client.errors import Closed, PredictionError, explain
from prediction_client.predict_pb2 import TensorProto
from prediction_client.retries import Attempts, RetryBudget

if TYPE_CHECKING:
    import numpy.typing as npt

    from prediction_client.tensors import Codec, Floats

# Seconds: for an image and for an array, as in the public client.
IMAGE_TIMEOUT, ARRAY_TIMEOUT = 10.0, 30.0

# A connection without calls is replaced after this time: load balancers drop one after four minutes.
IDLE = timedelta(minutes=2)

# gRPC's own default, which inference services rarely raise.
MESSAGE_BYTES = 4 * 1024 * 1024

_METHOD = "/tensorflow.serving.PredictionService/Predict"


class _Client:
    """What both clients share: the arguments, the codec, and what a failure means."""

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
            use_ssl: whether the service uses TLS.
            access_token: one of the service's keys; it is only ever sent over TLS.
            channel_shutdown_timeout: a connection without calls for this time (at least a second) is replaced.
            root_certificates: the trusted roots: PEM as bytes, or the path of a PEM file; the service's own certificate
                is accepted. Default: the file that GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names, else public authorities.
            ssl_target_name: the name in the service's certificate, if it is not the address.
            input_name: the name of the input tensor.
            output_name: the name of the returned output tensor.
            model_name: the model, for a service with several.
            signature_name: the signature, for a model with several.
            max_message_bytes: the limit for a request and for a response.
            retries: whether calls are retried while the service cannot be reached, for two seconds at most.

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
        self._names = (input_name, output_name, model_name, signature_name)
        self._budget = RetryBudget() if retries else None
        self._closed = False
        self._start()

    def _start(self) -> None:
        """Called once the arguments are checked."""

    @cached_property
    def _codec(self) -> "Codec":
        from prediction_client.tensors import Codec  # noqa: PLC0415 - numpy takes 50 ms, which importers need not pay

        return Codec(*self._names, self._connection.message_bytes)

    def _attempts(self, timeout: float) -> Attempts:
        if not timeout or not 0 < timeout < math.inf:
            raise ValueError(f"timeout is {timeout}: pass seconds, more than zero")
        return Attempts(time.monotonic() + timeout, self._budget)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this client is closed: make another one, or close it later")

    def _failure(self, error: grpc.RpcError) -> PredictionError:
        return Closed() if self._closed else explain(error, with_token=bool(self._connection.token))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection!r}>"


class PredictionClient(_Client):
    """Scores with blocking calls; may be used from several threads, which share one connection.

    Every ``score_`` method raises :class:`~prediction_client.errors.PredictionError` if the service cannot be called
    or does not answer with scores, and ValueError once the client is closed. ``timeout`` is in seconds, for all
    attempts together.
    """

    def _start(self) -> None:
        self._channel = self._connection.open()

    def score_image(self, path: str | PathLike[str] | bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":
        """Score an image file, JPEG or PNG, given as its path or its bytes.

        Returns:
            The image's scores, float32: ``[classes]``, or ``[1, 1, features]`` of a featurizer.
        """
        return self.score_file(path if isinstance(path, bytes) else Path(path).read_bytes(), timeout)

    def score_file(self, data: bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":
        """As :meth:`score_image`, for the bytes of a file."""
        return self._codec.single(self._predict(self._codec.encoded(data), timeout))

    def score_numpy_array(self, npdata: "npt.ArrayLike", timeout: float = ARRAY_TIMEOUT) -> "Floats":
        """Score prepared images: ``[N, height, width, 3]``, sent as float32.

        Returns:
            The scores of all, float32: ``[N, classes]``, or ``[N, 1, 1, features]`` of a featurizer.
        """
        return self._codec.batch(self._predict(self._codec.numeric(npdata), timeout))

    def score_tensor(
        self, data: bytes, shape: Sequence[int], datatype: int, timeout: float = IMAGE_TIMEOUT
    ) -> TensorProto:
        """Send bytes as a tensor of a type by TensorFlow's number (1: float, 7: string); returns the output as is."""
        return self._codec.output(self._predict(self._codec.raw(data, shape, datatype), timeout))

    def close(self) -> None:
        """Close the connection; calls in progress fail."""
        self._closed = True
        self._channel.close()

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
        self._check_open()
        # Without serializers: bytes in, bytes out.
        predict: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(_METHOD)
        return predict(request, timeout=timeout, metadata=self._connection.metadata)


class AsyncPredictionClient(_Client):
    """As :class:`PredictionClient`, for asyncio: every method is awaited. Bound to the event loop of its first call.

    Arguments, results and errors are the same.
    """

    # _channel  made by the first call, in its event loop

    _channel: grpc.aio.Channel | None = None

    async def score_image(self, path: str | PathLike[str] | bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":  # noqa: ASYNC109 - gRPC's deadline, not a cancellation
        """Score an image file, JPEG or PNG, given as its path or its bytes."""
        data = path if isinstance(path, bytes) else await asyncio.to_thread(Path(path).read_bytes)
        return await self.score_file(data, timeout)

    async def score_file(self, data: bytes, timeout: float = IMAGE_TIMEOUT) -> "Floats":  # noqa: ASYNC109 - as above
        """As :meth:`score_image`, for the bytes of a file."""
        return self._codec.single(await self._predict(self._codec.encoded(data), timeout))

    async def score_numpy_array(self, npdata: "npt.ArrayLike", timeout: float = ARRAY_TIMEOUT) -> "Floats":  # noqa: ASYNC109 - as above
        """Score prepared images: ``[N, height, width, 3]``, sent as float32."""
        return self._codec.batch(await self._predict(self._codec.numeric(npdata), timeout))

    async def score_tensor(
        self,
        data: bytes,
        shape: Sequence[int],
        datatype: int,
        timeout: float = IMAGE_TIMEOUT,  # noqa: ASYNC109 - as above
    ) -> TensorProto:
        """Send bytes as a tensor of a type by TensorFlow's number (1: float, 7: string); returns the output as is."""
        return self._codec.output(await self._predict(self._codec.raw(data, shape, datatype), timeout))

    async def close(self) -> None:
        """Close the connection; calls in progress fail."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

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
                if self._cancelled_by_close():
                    raise Closed from None
                raise
            except grpc.RpcError as error:
                failure = self._failure(error)
                pause = attempts.pause(failure)
                if pause is None:
                    raise failure from error
            await asyncio.sleep(pause)

    def _cancelled_by_close(self) -> bool:
        """Closing a channel cancels its calls, which looks as if the caller's task had been cancelled."""
        task = asyncio.current_task()
        return self._closed and task is not None and not task.cancelling()

    async def _call(self, request: bytes, seconds: float) -> bytes:
        self._check_open()
        if self._channel is None:
            self._channel = self._connection.open_async()
        predict: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(_METHOD)
        return await predict(request, timeout=seconds, metadata=self._connection.metadata)
