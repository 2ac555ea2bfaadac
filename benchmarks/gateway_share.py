"""What the gateway itself adds to a call of the inference service: ``python -m benchmarks.gateway_share``.

The app runs in this process, indexed and invoked by Microsoft's worker library as in the local Functions host; Key
Vault, the identity endpoint and the FPGA service (TLS, keys, an engine that takes no time) are processes of their own.
One run interleaves

- native: an invocation of the function ``score`` with a JPEG as its raw body, and
- direct: ``Predict`` with the same image and key on the very same live channel, its answer not even parsed;

the gateway's share is the difference of their medians. What else runs on the machine would count as the gateway's, so
twice as many batches are taken as asked for, and the half is kept during which other processes used the processors
least (where /proc tells).
"""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from azure.functions.http import HttpRequestConverter, HttpResponseConverter

from benchmarks.machine import Load
from benchmarks.probes import Probe
from benchmarks.rig import App, Bench, Invalid, at_least, jpeg, run
from devstack.host import worker
from functions import answers, uploads
from protos.serving_pb2 import PredictResponse
from shared.fpga import channels, predictor
from shared.gateway import gateway
from shared.scoring import images, labels, scorer, tensors
from shared.telemetry import Timings

PAIRS_A_BATCH = 200
WARM_UP = 200
PROBED = 1000
LIMIT_MS, GOAL_MS = 0.4, 0.2

# What the time of an invocation is told by, from the outside to the inside; the rest falls to what is around it.
INVOCATION, CALL = "worker library: invocation", "Predict, with its metadata"
PARTS: dict[str, Callable[..., object]] = {
    INVOCATION: worker.invoke,
    "worker library: request": HttpRequestConverter.decode,
    "worker library: response": HttpResponseConverter.encode,
    "trigger": answers.answered,
    "trigger: body": uploads.uploads,
    "trigger: query": uploads.ranking,
    "trigger: headers": uploads.start_call,
    "trigger: timings told": Timings.server_timing,
    "trigger: answer": answers.json_answer,
    "scorer: tasks, deadline": scorer.Scorer.score,
    "scorer: image's headers": images.forwardable,
    "scorer: request": tensors.RequestTemplate.encoded,
    "scorer: answer": tensors.AnswerReader.scores,
    "scorer: ranking": labels.rank,
    "predictor: credentials, lease": predictor.Predictor.predict,
    CALL: channels.Channel.predict,
}


class Took(NamedTuple):
    """One call, in seconds: by the clock, and of a processor's time for this thread."""

    elapsed: float
    worked: float


@dataclass
class Batch:
    """Calls one after the other, pair by pair; ``others`` is how much of the machine other processes used."""

    native: list[Took] = field(default_factory=list)
    direct: list[Took] = field(default_factory=list)
    others: float = 0.0


@dataclass(frozen=True)
class Legs:
    """The two calls that are compared."""

    native: Callable[[], Awaitable[object]]
    direct: Callable[[], Awaitable[object]]

    async def pairs(self, count: int) -> Batch:
        """Call each so many times; which goes first changes from pair to pair."""
        batch = Batch()
        order = [(self.native, batch.native), (self.direct, batch.direct)]
        for _ in range(count):
            for call, times in order:
                worked, start = time.thread_time(), time.perf_counter()
                await call()
                times.append(Took(time.perf_counter() - start, time.thread_time() - worked))
            order.reverse()
        return batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_share")
    add = parser.add_argument
    add("--count", type=at_least(2), default=4000, metavar="N", help="pairs (default: %(default)s)")
    add("--bytes", type=at_least(2000), default=20_000, metavar="N", help="of the JPEG (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run(lambda bench: measure(bench, options.count, options.bytes))


async def measure(bench: Bench, count: int, size: int) -> None:
    """Take the samples, and print what they say."""
    app = await App.load(bench.settings(await bench.start_services()))
    body = jpeg(size)
    request = app.request("/api/score", {"Content-Type": "image/jpeg"}, body)
    await app.score(request)  # brings the channel into being
    legs = Legs(lambda: app.score(request), await direct_call(body))
    await legs.pairs(min(count, WARM_UP))
    batches = await take(legs, count, Load(bench.supervisor.pids().values()))
    kept = sorted(batches, key=lambda batch: batch.others)[: len(batches) // 2]
    report(body, batches, kept)
    await break_down(legs, min(count, PROBED))


async def direct_call(body: bytes) -> Callable[[], Awaitable[bytes]]:
    """The call that the gateway of this process makes for ``body``, on its own live channel."""
    service = gateway().service(None)
    assert service.predictor.credentials is not None  # noqa: S101 - the local stack has TLS and keys
    credentials = await service.predictor.credentials.current()
    with service.predictor._slot.lease(credentials.pins) as lease:  # noqa: SLF001 - another channel is another connection
        predict: Callable[..., Awaitable[bytes]] = lease._channel.unary_unary(channels.PREDICT)  # noqa: SLF001 - as above
    own = service.settings
    template = tensors.RequestTemplate(model=own.model, signature=own.signature, input_name=own.input_name)
    request, metadata = template.encoded([body]), (("authorization", credentials.keys[0]),)
    if not PredictResponse.FromString(await predict(request, timeout=10, metadata=metadata)).outputs:
        raise Invalid("The service answered without scores.")
    return lambda: predict(request, timeout=10, metadata=metadata)


async def take(legs: Legs, count: int, load: Load) -> list[Batch]:
    """Twice as many pairs as asked for, in batches."""
    size = min(count, PAIRS_A_BATCH)
    batches = []
    for _ in range(2 * max(1, round(count / size))):
        load.others()
        batch = await legs.pairs(size)
        batch.others = load.others()
        batches.append(batch)
    return batches


def report(body: bytes, batches: Sequence[Batch], kept: Sequence[Batch]) -> None:
    """Print the two times, and their difference."""
    native = [took for batch in kept for took in batch.native]
    direct = [took for batch in kept for took in batch.direct]
    others = max(batch.others for batch in kept)
    print(f"A JPEG of {len(body)} bytes; {len(native)} pairs: the calmest {len(kept)} of {len(batches)} batches,")
    print(f"during which other processes used at most {others:.0%} of the machine.\n")
    print(f"{'milliseconds':<32}{'median':>9}{'p95':>9}{'CPU':>9}")
    for name, times in (("native invocation", native), ("direct Predict", direct)):
        print(
            f"{name:<32}{1000 * elapsed(times):9.3f}{1000 * p95([took.elapsed for took in times]):9.3f}"
            f"{1000 * worked(times):9.3f}"
        )
    share = 1000 * (elapsed(native) - elapsed(direct))
    cpu = 1000 * (worked(native) - worked(direct))
    verdict = "the goal is met" if share <= GOAL_MS else "within the limit" if share <= LIMIT_MS else "OVER the limit"
    print(f"{"the gateway's share":<32}{share:9.3f}{'':9}{cpu:9.3f}")
    print(f"(limit {LIMIT_MS}, goal {GOAL_MS}: {verdict})\n")


async def break_down(legs: Legs, count: int) -> None:
    """Measure once more, with probes, and print each part's own time. The probes' own cost is in it."""
    probe = Probe(PARTS)
    with probe.on():
        batch = await legs.pairs(count)
    print(f"{'microseconds, probed':<32}{'median':>9}{'p95':>9}")
    for name, times in probe.seconds.items():
        if not times:
            raise Invalid(f"A score no longer passes through what is measured as '{name}': correct PARTS.")
        print(f"{name:<32}{1e6 * median(times):9.1f}{1e6 * p95(times):9.1f}")
    direct = [took.elapsed for took in batch.direct]
    print(f"{'direct Predict':<32}{1e6 * median(direct):9.1f}{1e6 * p95(direct):9.1f}")


def elapsed(calls: Sequence[Took]) -> float:
    """The median by the clock."""
    return median(took.elapsed for took in calls)


def worked(calls: Sequence[Took]) -> float:
    """The median of this thread's processor time."""
    return median(took.worked for took in calls)


def p95(times: Sequence[float]) -> float:
    """The time that one in twenty exceeds."""
    return sorted(times)[int(len(times) * 0.95)]


if __name__ == "__main__":
    sys.exit(main())
