"""The project's targets: ratios or differences of medians from one run, or times, with two thresholds each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.harness.markdown import table

AZURE, LOCAL = "Azure", "local host"

_SLOWER = "This machine's interpreter takes 100 to 155 µs for what took 60 µs on 2026-11-23, when this was"


class Target(NamedTuple):
    """``must`` is required, ``aim`` would be the best of its kind; ``why`` explains a miss of ``must``.

    ``where`` says whether users in Azure see it, or only those of the local Functions host.
    """

    what: str
    must: float
    aim: float
    unit: str = ""
    why: str = ""
    where: str = AZURE

    @property
    def smaller(self) -> bool:
        """Whether smaller values are better."""
        return self.aim < self.must

    def reaches(self, value: float, threshold: float) -> bool:
        """Whether a value is at least as good as a threshold."""
        return value <= threshold if self.smaller else value >= threshold

    def verdict(self, value: float) -> str:
        """A value compared with both thresholds, in a few words."""
        if self.reaches(value, self.aim):
            return "✓ aim"
        if self.reaches(value, self.must):
            return f"✓ must, {_distance(value, self.aim)} of the aim"
        return f"✗ {_distance(value, self.must)} of the must"

    def spread(self, between: Sequence[float]) -> str:
        """The least and the greatest value of several runs; empty for a single one."""
        least, greatest = (self.written(value).removesuffix(self.unit).strip() for value in between)
        return "" if between[0] == between[1] else f"{least} to {greatest}"

    def written(self, value: float) -> str:
        """A value with its unit, to its significant digits."""
        digits = 3 if abs(value) < 10 and self.unit != "ms" else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
        return f"{value:.{digits}f}{self.unit and ' '}{self.unit}"


def _distance(value: float, threshold: float) -> str:
    """The distance from a value to a threshold, as a share of the threshold."""
    share = abs(value - threshold) / abs(threshold)
    return f"{share:.1%} short" if share < 0.1 else f"{share:.0%} short"


TARGETS: Mapping[str, Target] = {
    "worker_c1_over_empty_ms": Target(
        *("what a worker process adds to native invocation, less what it adds to an empty function", 0.05, 0.0, "ms"),
        why="A function that only calls the service has more than half of it (the next target has the rest): a call"
        " crosses two more threads and wakes processors that the native calls share with the service.",
    ),
    "worker_c1_over_call_ms": Target(
        *("likewise, less what it adds to a function that only calls the service by gRPC", 0.05, 0.0, "ms"),
        why="It is Python on the event loop, with colder caches than natively: the worker's other threads run"
        " between two calls. It waits for no lock: the event loop's thread is switched 0.1 to 0.3 times a call."
        " By turns with the version that awaited grpc.aio's task: 0.38, 0.38, 0.14 then, 0.13, 0.00, 0.06 ms now.",
    ),
    "native_c1_added_ms": Target(
        *("native invocation of the worker, less the floor: 20 KB, one at a time", 0.20, 0.10, "ms"),
        why="A score takes 6,200 of the interpreter's instructions (counted by sys.monitoring), 4,400 of them the"
        " gateway's: 900 for the JPEG file's header and metadata, 750 for the client and the admission, 600 for"
        " telemetry, 450 for the scorer. They take 0.17 ms in a loop without the call, and twice that between"
        " calls, when their code is in no cache.",
    ),
    "native_c16_cpu_vs_direct": Target(
        "processor time a request: native invocation over direct `grpc.aio` with protobuf objects",
        *(1.25, 1.1),
        why="Of 0.65 ms, 0.23 are gRPC's own, as in the direct call, whose objects take 0.15 more; the rest are the"
        f" same instructions as above. {_SLOWER} 1.26, with 1,200 instructions less of the gateway's, since when"
        " metadata is removed from files, and more is counted, admitted and traced. Channel options and gRPC's"
        " experiments make no difference.",
    ),
    "http_c1_p50_vs_envoy": Target(
        "median time through the local host over Envoy's transcoder, one at a time",
        *(0.85, 0.70),
        where=LOCAL,
    ),
    "http_c16_rps_vs_envoy": Target(
        *("requests a second over Envoy's, 16 at a time", 1.8, 2.4),
        why="Of a request's processor time 30 % is gRPC's own (the floor), 40 % the worker library's and the"
        " gateway's, 30 % the local host's HTTP (uvicorn), which does not run in Azure. Envoy is C++.",
        where=LOCAL,
    ),
    "http_c16_rps_vs_fastapi": Target(
        *("likewise over FastAPI's", 1.0, 1.5),
        why="The gateway has more Python of its own in a request, FastAPI's server uvloop. Processes of one version"
        " differ by a third here: 900 to 1,330 requests a second, one after another.",
        where=LOCAL,
    ),
    "http_c1_files_vs_fastapi": Target(
        "median time of eight files in one request, over FastAPI's", 1.0, 0.9, where=LOCAL
    ),
    "http_c16_rps_vs_litserve": Target(
        *("likewise over LitServe's", 5, 10),
        why="It varies between 2.5 and 5.3 from run to run, as LitServe itself does: two processes and a queue that"
        " share one processor.",
        where=LOCAL,
    ),
    "http_c16_rps_vs_bentoml": Target(
        *("likewise over BentoML's", 5, 10),
        why=f"{_SLOWER} 5.1: the gateway is bound by its interpreter, BentoML by two processes' exchange.",
        where=LOCAL,
    ),
    "fpga_use_c16": Target(
        *("share of the 1.8 ms service's capacity that is used, 16 at a time", 0.99, 0.995),
        where=LOCAL,
    ),
    "photo_12mp_vs_naive": Target("12 megapixels to a tensor, baseline JPEG: speed over the naive decode", 4.5, 4.8),
    "photo_12mp_progressive_vs_naive": Target("likewise, progressive JPEG", 1.9, 2.2),
    "photo_12mp_extra_mb": Target("extra memory of it", 10, 5, "MB"),
    "tensor_600k_vs_direct": Target(
        "native invocation with a 600 KB tensor over the direct call assembled by hand",
        *(1.3, 1.1),
    ),
    "triton_c1_added_ms": Target(
        *("a photograph to a model of UINT8 behind Triton, less decoding and calling by hand", 1.0, 0.5, "ms"),
    ),
    "triton_files_vs_batch": Target(
        *("eight photographs in a request, over a client's one batch", 1.0, 0.9),
        why="Level within noise: 0.99 on an earlier day.",
    ),
    "triton_c16_uint8_vs_fp32_cpu": Target(
        *("processor time a photograph: a model of UINT8 over one of FP32, 16 at a time", 0.5, 0.4),
        why="Decoding and resizing are the most of it for both, and cannot be less: 1.4 ms for Pillow's decoder and one"
        " resize of this photograph, where FP32 adds 0.2 to 0.4 ms for its numbers and a message of 600 KB.",
    ),
    "photo_small_vs_limit": Target(
        "384 x 256 pixels to 224 x 224 bytes, over the decoder's and one resize's time", 1.3, 1.1
    ),
    "cold_indexed_ms": Target(
        *("process start to app indexed", 200, 150, "ms"),
        why="190 ms of it are Python's and Microsoft's imports, and less than 50 the app's own: 65 modules, none of"
        f" which takes 5 ms. {_SLOWER} 169 ms.",
    ),
    "cold_first_score_ms": Target(
        *("process start to the first scored answer", 400, 300, "ms"),
        why="The imports of the packages alone, with Microsoft's worker library, take 435 ms here (see below), on one"
        " processor; the rest are the gateway's own modules, 70 ms, and the reads of Key Vault with their TLS, 50 ms."
        f" {_SLOWER} 433 ms. Azure's host takes some hundred milliseconds between indexing and the first request, in"
        " which the gateway imports all that: what is left of the first request then is below, too.",
    ),
    "cold_slow_vault_ms": Target("likewise, while Key Vault takes 150 ms for each secret", 700, 500, "ms"),
    "overload_goodput": Target(
        *("goodput at twice the capacity, over the capacity", 0.95, 0.99),
        where=LOCAL,
    ),
    "overload_refusal_p50_ms": Target(
        *("a refusal's median time", 10, 3, "ms"),
        where=LOCAL,
    ),
}


def targets_table(ratios: Mapping[str, float], spread: Mapping[str, Sequence[float]]) -> str:
    """All targets, with the medians and the spread of those that were measured."""
    rows = []
    for name, target in TARGETS.items():
        measured, between, verdict = "", "", "not measured in this run"
        if name in ratios:
            measured, verdict = target.written(ratios[name]), target.verdict(ratios[name])
            between = target.spread(spread[name])
        must = f"{'≤' if target.smaller else '≥'} {target.must:g}"
        rows.append([f"`{name}`", target.what, target.where, measured, between, must, f"{target.aim:g}", verdict])
    return table(["target", "what", "seen in", "median", "of the runs", "must", "aim", ""], rows, left=3)


def missed(ratios: Mapping[str, float]) -> list[str]:
    """A line for each missed ``must``, with the explanation, where there is one."""
    return [
        f"- `{name}`: {target.written(ratios[name])} instead of {target.written(target.must)}. {target.why}".rstrip()
        for name, target in TARGETS.items()
        if name in ratios and not target.reaches(ratios[name], target.must)
    ]
