"""What a service's model takes and returns, read from the service's metadata at first use.

It is read again when an answer says that it may have changed: the model's version is another, or the service rejects a
request. All requests share one read; a failure is remembered for a moment, so that they do not read in turn.
"""

import asyncio
import copy
import time
from contextlib import suppress

from shared.errors import GatewayError, Misconfigured, ServiceRejected
from shared.settings import ServiceSettings
from shared.telemetry import RequestContext, log
from shared.upstream.client import ServiceClient
from shared.upstream.codecs import Codec
from shared.upstream.codecs.model import ModelInterface, from_metadata, without_metadata

# Seconds that a read may take, for which its failure is remembered, and between two reads because of answers.
READ_SECONDS, FAILED_SECONDS, PAUSE_SECONDS = 5.0, 1.0, 2.0


class Discovery:
    """Makes the codec for a service's model; belongs to one event loop."""

    # _found     the codec for the model as it was last described; None before that
    # _read_at   when it was
    # _version   the model's version that was described last; None before the first answer
    # _newer     the version in an answer that caused the read in progress
    # _reading   the read in progress, shared by all who wait for it
    # _failure   why the last read failed, and when; None after a success

    def __init__(self, service: ServiceSettings, client: ServiceClient, codec: Codec) -> None:
        self._service = service
        self._client = client
        self._codec = codec
        self._found: Codec | None = None
        self._read_at = 0.0
        self._version: int | str | None = None
        self._newer: int | str | None = None
        self._reading: asyncio.Task[Codec] | None = None
        self._failure: tuple[GatewayError, float] | None = None

    @property
    def latest(self) -> Codec | None:
        """The codec for the model as it was last described."""
        return self._found

    async def codec(self, context: RequestContext) -> Codec:
        """The codec for the service's model.

        Raises:
            Misconfigured: the settings and the metadata contradict each other, or leave something open.
            GatewayError: the metadata cannot be read; the cause.
            TimeoutError: the request's deadline passed.
        """
        if self._found is not None:
            return self._found
        if self._failure is not None and time.monotonic() - self._failure[1] < FAILED_SECONDS:
            # A copy: the same error, raised again and again, would collect the tracebacks of all.
            raise copy.copy(self._failure[0])
        async with context.timeout():
            return await asyncio.shield(self._read())

    def answered(self, version: int | str | None) -> None:
        """Note the model's version in an answer; after another one, the metadata is read again in the background.

        After a read that failed, a later answer causes the next one. Two versions may answer in turn for hours: then
        reads have a pause between them.
        """
        if version is None or version == self._version:
            return
        if self._version is None:
            self._version = version
        elif time.monotonic() - self._read_at >= PAUSE_SECONDS:
            log.warning("service %s: the model's version is %s, after %s", self._service.name, version, self._version)
            self._newer = version
            self._read()

    async def changed(self, used: Codec, context: RequestContext) -> Codec | None:
        """The codec for the model as it is now, after the service rejected a request of ``used``.

        None where the model is the same, or was described a moment ago.
        """
        if used is self._found:
            if time.monotonic() - self._read_at < PAUSE_SECONDS:
                return None
            with suppress(GatewayError, TimeoutError):
                async with context.timeout():
                    await asyncio.shield(self._read())
        return None if self._found is None or self._found.model == used.model else self._found

    def _read(self) -> asyncio.Task[Codec]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._renew())
            self._reading.add_done_callback(self._ended)
        return self._reading

    def _ended(self, task: asyncio.Task[Codec]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # retrieved here, since nobody may be waiting

    async def _renew(self) -> Codec:
        self._read_at = time.monotonic()
        try:
            model = await self._model()
        except GatewayError as error:
            self._failure = (copy.copy(error), time.monotonic())
            if isinstance(error, Misconfigured):
                # The model that the settings fitted is gone: requests for it would fail without naming the cause.
                self._found = None
            raise
        self._failure = None
        self._version, self._newer = self._newer or self._version, None
        if self._found is None or self._found.model != model:
            log.info("service %s: its model %s", self._service.name, model)
            self._found = self._codec.for_model(model)
        return self._found

    async def _model(self) -> ModelInterface:
        context = RequestContext("discovery", time.monotonic() + READ_SECONDS)
        answers: list[bytes | None] = []
        for rpc in self._codec.describe():
            try:
                answers.append(await self._client.call(*rpc, context))
            except ServiceRejected as error:
                # Only the first question is essential; servers answer one that they do not know in several ways.
                if error.code != "UNIMPLEMENTED" and not answers:
                    raise
                answers.append(None)
        if answers[0] is None:
            return without_metadata(self._service)
        return from_metadata(self._service, self._codec.described(answers))
