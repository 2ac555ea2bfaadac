"""Sends the golden photographs of one service through the gateway's own path, and tries the causes of deviations.

One at a time, and only while the service has room: requests come first.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from shared.errors import DeadlineExceeded, GatewayError, Misconfigured, Overloaded, ServiceAnswerInvalid
from shared.quoting import printable
from shared.scoring.golden import causes, expected
from shared.scoring.golden.causes import Variant, Way
from shared.scoring.golden.compare import Floats, Reading, deviation
from shared.scoring.golden.expected import Photograph
from shared.scoring.scorer import Scorer
from shared.scoring.types import Upload
from shared.settings import APP_ROOT, OutputKind, prefix
from shared.telemetry import RequestContext, log
from shared.upstream.codecs import Codec, ModelInterface, Selector
from shared.upstream.codecs import Outputs as AllOutputs
from shared.upstream.service import Upstream

# The share of the service's limit from which on golden photographs wait, and seconds until they look again.
SHARE, ROOM_SECONDS = 0.5, 0.2
# Seconds until a check starts over in whose middle the model's version changed.
CHANGED_SECONDS = 2.0

type Outputs = Mapping[str, Floats]


@dataclass(frozen=True)
class Outcome:
    """What a photograph gave: ``deviation`` is empty where it matches, ``outputs`` None where it was not scored."""

    photograph: Photograph
    deviation: str
    outputs: Outputs | None = field(default=None, repr=False)
    version: int | str | None = None


@dataclass(frozen=True)
class Report:
    """The outcome of each photograph, all of one version of the model."""

    outcomes: tuple[Outcome, ...]

    @property
    def matched(self) -> int:
        return sum(not one.deviation for one in self.outcomes)

    @property
    def version(self) -> int | str | None:
        return next((one.version for one in self.outcomes if one.outputs is not None), None)

    @property
    def first_deviation(self) -> str:
        return next((f"{one.photograph.file}: {one.deviation}" for one in self.outcomes if one.deviation), "")

    def __str__(self) -> str:
        return f"{self.matched} of {len(self.outcomes)}"


@dataclass(frozen=True)
class Causes:
    """The settings with each of which every photograph that can be scored matches; and what could not be tried."""

    matches_with: tuple[tuple[str, ...], ...] = ()
    tried: int = 0
    not_tried: str = ""


class Checker:
    """Checks one service; belongs to one event loop."""

    def __init__(self, upstream: Upstream, scorer: Scorer) -> None:
        self._upstream = upstream
        self._service = upstream.settings
        self._scorer = scorer
        self._folder = APP_ROOT / self._service.golden
        self._turn = asyncio.Lock()

    async def check(self, context: RequestContext) -> Report:
        """Score all photographs, and compare.

        Raises:
            Misconfigured: the folder cannot be used.
            GatewayError: the service cannot score them now; the cause.
        """
        async with self._alone(context):
            while True:
                photographs = await self._photographs()
                outcomes = tuple([await self._outcome(one, context) for one in photographs])
                if len({one.version for one in outcomes if one.outputs is not None}) <= 1:
                    return Report(outcomes)
                log.info("service %s: the model's version changed between golden photographs", self._service.name)
                await _pause(CHANGED_SECONDS, context)

    async def causes(self, report: Report, context: RequestContext) -> Causes:
        """Try the likely causes of the deviations in a report.

        Raises:
            GatewayError: the service cannot score now; the cause.
        """
        scored = [(one.photograph, one.outputs) for one in report.outcomes if one.outputs is not None]
        if all(not one.deviation for one in report.outcomes if one.outputs is not None):
            return Causes()
        photographs, outputs = [one for one, _ in scored], [found for _, found in scored]
        ways = causes.readings(await self._reading(context), photographs, self._service.labels)
        # In a thread: each way looks for each label in what may be thousands of names.
        explained = await asyncio.to_thread(lambda: list(causes.explanations(photographs, outputs, ways)))
        found = [one for one in explained if one]
        async with self._alone(context):
            codec = await self._codec(context)
            model = _model(codec)
            tried, not_tried = len(ways) - 1, causes.untried(model)
            for variant in causes.variants(model):
                if found and len(variant.causes) > min(map(len, found)):
                    break
                try:
                    found += await self._explained(variant, report, ways, codec, context)
                except (DeadlineExceeded, TimeoutError):
                    not_tried = f"{not_tried} There was no time for all of the causes.".strip()
                    break
                tried += len(ways)
        fewest = min(map(len, found), default=0)
        return Causes(tuple(dict.fromkeys(one for one in found if len(one) == fewest)), tried, not_tried)

    async def _explained(
        self,
        variant: Variant,
        report: Report,
        ways: Sequence[Way],
        codec: Codec,
        context: RequestContext,
    ) -> list[tuple[str, ...]]:
        """The causes that explain all outcomes, where pictures are prepared as the variant says."""
        # First one that deviates: hardly any wrong cause explains it, and then the others need not be scored.
        scored = sorted((one for one in report.outcomes if one.outputs is not None), key=lambda one: not one.deviation)
        changed = codec.for_model(_model(codec)._replace(preprocessing=variant.preprocessing))
        outputs = list[Outputs]()
        left = list(ways)
        for outcome in scored:
            data = await asyncio.to_thread(expected.read, self._folder, outcome.photograph)
            try:
                found, _ = await self._outputs(Upload(outcome.photograph.file, data), context, changed)
            except ServiceAnswerInvalid:  # values out of the model's range gave some that are not finite
                return []
            outputs.append(found)
            left = [way for way in left if not deviation(outcome.photograph, found, way[1])]
            if not left:
                return []
        return [(*variant.causes, *more) for more, _ in left]

    async def _reading(self, context: RequestContext) -> Reading:
        names = await self._scorer.names(await self._codec(context), context)
        return Reading(self._service.activation_function, names)

    async def _photographs(self) -> tuple[Photograph, ...]:
        try:
            return await asyncio.to_thread(expected.load, self._folder)
        except ValueError as error:
            name = f"{prefix(self._service.name)}GOLDEN"
            raise Misconfigured(
                f"{name} is {printable(self._service.golden, 80)!r}, which {error}.", settings=[name]
            ) from None

    async def _outcome(self, photograph: Photograph, context: RequestContext) -> Outcome:
        try:
            data = await asyncio.to_thread(expected.read, self._folder, photograph)
            outputs, version = await self._outputs(Upload(photograph.file, data), context)
        except OSError as error:
            return Outcome(photograph, f"the file cannot be read: {error.strerror}")
        except GatewayError as error:
            if error.is_server_fault:
                raise
            return Outcome(photograph, f"{error.slug}: {error.detail}")
        return Outcome(photograph, deviation(photograph, outputs, await self._reading(context)), outputs, version)

    async def _outputs(
        self, upload: Upload, context: RequestContext, codec: Codec | None = None
    ) -> tuple[Outputs, int | str | None]:
        """The outputs for an image by name, and the model's version."""
        while not self._upstream.admission.has_room(SHARE):
            await _pause(ROOM_SECONDS, context)
        own = RequestContext(
            context.request_id, min(context.deadline, time.monotonic() + self._service.deadline_seconds)
        )
        if self._service.output is OutputKind.RAW:
            (found,) = await self._scorer.raw([upload], Selector(), own, codec)
            return dict(_numbers(found)), found.version
        (output,) = await self._scorer.outputs([upload], Selector(), own, codec)
        name = _model(codec or await self._codec(own)).output_name
        return {name: output.values[0]}, output.version

    async def _codec(self, context: RequestContext) -> Codec:
        try:
            return await self._upstream.model_codec(context)
        except TimeoutError:
            raise context.deadline_exceeded() from None

    @asynccontextmanager
    async def _alone(self, context: RequestContext) -> AsyncIterator[None]:
        try:
            async with context.timeout():
                await self._turn.acquire()
        except TimeoutError:
            raise DeadlineExceeded("The deadline passed during another check of the golden photographs.") from None
        try:
            yield
        finally:
            self._turn.release()


def _numbers(found: AllOutputs) -> Iterator[tuple[str, Floats]]:
    """The outputs that are numbers."""
    for one in found.tensors:
        if isinstance(one.values, np.ndarray):
            yield one.name, one.values.astype(np.float32).reshape(one.shape)


def _model(codec: Codec) -> ModelInterface:
    assert codec.model is not None  # noqa: S101 - for the type checker
    return codec.model


async def _pause(seconds: float, context: RequestContext) -> None:
    """Wait, within the deadline.

    Raises:
        Overloaded: there is no time for it.
    """
    if context.remaining < seconds:
        raise Overloaded("The service had no room for the golden photographs.", retry_after=1)
    await asyncio.sleep(seconds)
